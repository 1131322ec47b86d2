{{/* What the server's container has on every platform. */}}

{{- define "spade.locked" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The settings as a map from environment variables. */}}
{{- define "spade.environment" -}}
{{- range $flag, $value := .Values.settings }}
SPADE_{{ $flag | replace "-" "_" | upper }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* A probe's question, as (list CONTEXT SERVICE). Kubelet's gRPC probes speak no TLS, so with TLS
     the client in the image asks, with the server's own certificate. */}}
{{- define "spade.ask" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- if $root.Values.tls.enabled }}
exec:
  command:
    - /opt/spade/bin/spade-client
    - --target=127.0.0.1:50051
    - --tls-ca=/etc/spade/tls/ca.crt
    - --tls-name={{ include "spade.fullname" $root }}
    {{- if $root.Values.tls.clientCertificates }}
    - --tls-cert=/etc/spade/tls/tls.crt
    - --tls-key=/etc/spade/tls/tls.key
    {{- end }}
    - --deadline=4
    - health
    {{- with $service }}
    - --service={{ . }}
    {{- end }}
timeoutSeconds: 5
{{- else }}
grpc:
  port: 50051
  {{- with $service }}
  service: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Probes and the end of a pod. */}}
{{- define "spade.life" -}}
{{- $drain := int (index .Values.settings "drain-timeout") -}}
{{- if le (int .Values.terminationGracePeriodSeconds) (add (int .Values.preStopSeconds) $drain) -}}
{{- fail "terminationGracePeriodSeconds must exceed preStopSeconds and settings.drain-timeout together" -}}
{{- end -}}
# SERVING once the model is loaded: ten minutes for it.
startupProbe:
  {{- include "spade.ask" (list . "") | nindent 2 }}
  periodSeconds: 5
  failureThreshold: 120
# Fails only if the engine has work and makes no step: what a restart can help.
livenessProbe:
  {{- include "spade.ask" (list . "liveness") | nindent 2 }}
  {{- if not .Values.tls.enabled }}
  timeoutSeconds: 5
  {{- end }}
  periodSeconds: 10
  failureThreshold: 3
readinessProbe:
  {{- include "spade.ask" (list . "spade.v1.InferenceService") | nindent 2 }}
  {{- if not .Values.tls.enabled }}
  timeoutSeconds: 3
  {{- end }}
  periodSeconds: 5
  failureThreshold: 2
lifecycle:
  preStop:
    sleep: {seconds: {{ .Values.preStopSeconds }}}
{{- end }}
