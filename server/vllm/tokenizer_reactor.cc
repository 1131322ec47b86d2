#include "server/vllm/tokenizer_reactor.h"

#include <algorithm>
#include <utility>

namespace spade {

TokenizerReactor::TokenizerReactor(const ServiceContext& service,
                                   const grpc::CallbackServerContext& context,
                                   TokenizerArchiveCache* cache)
    : call_(service, RpcMethod::kVllmGetTokenizer, context) {
  if (!call_.admitted().ok()) {
    Finish(call_.End(call_.admitted()));
    return;
  }
  // gRPC calls OnDone, whatever becomes of the call, no sooner than Finish was called.
  cache->Get([this](const TokenizerArchiveCache::Archive& archive) { Send(archive); });
}

void TokenizerReactor::Send(const TokenizerArchiveCache::Archive& archive) {
  if (!archive.ok()) {
    Finish(call_.End(archive.status()));
    return;
  }
  archive_ = *archive;
  WriteNext();
}

void TokenizerReactor::OnWriteDone(bool ok) {
  if (!ok) {
    Finish(call_.End(absl::CancelledError("the client went away")));
  } else if (sent_ == archive_->zip.size()) {
    Finish(call_.End(absl::OkStatus()));
  } else {
    WriteNext();
  }
}

void TokenizerReactor::WriteNext() {
  const size_t size = std::min(kChunkBytes, archive_->zip.size() - sent_);
  chunk_.set_data(archive_->zip.data() + sent_, size);
  sent_ += size;
  if (sent_ == archive_->zip.size()) chunk_.set_sha256(archive_->sha256);
  StartWrite(&chunk_);
}

}  // namespace spade
