{{- define "spade.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* By these a selector finds the server's pods. */}}
{{- define "spade.selector" -}}
app.kubernetes.io/name: spade
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spade.labels" -}}
{{ include "spade.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "spade.picker.selector" -}}
app.kubernetes.io/name: spade-epp
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
