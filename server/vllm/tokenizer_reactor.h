#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>

#include "absl/status/statusor.h"
#include "server/rpc_call.h"
#include "server/vllm/tokenizer_archive.h"
#include "smg/common.pb.h"

namespace spade {

// One GetTokenizer call: sends the archive in pieces once it is packed, or ends with the error.
// Deletes itself.
class TokenizerReactor final
    : public grpc::ServerWriteReactor<::smg::grpc::common::GetTokenizerChunk> {
 public:
  static constexpr size_t kChunkBytes = 64 << 10;

  TokenizerReactor(const ServiceContext& service, const grpc::CallbackServerContext& context,
                   TokenizerArchiveCache* cache);

 private:
  void Send(const TokenizerArchiveCache::Archive& archive);
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }
  void WriteNext();

  RpcCall call_;
  std::shared_ptr<const TokenizerArchive> archive_;
  size_t sent_ = 0;
  ::smg::grpc::common::GetTokenizerChunk chunk_;
};

}  // namespace spade
