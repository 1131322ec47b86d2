#include "server/vllm/tokenizer_reactor.h"

#include <algorithm>
#include <utility>

namespace spade {

TokenizerReactor::TokenizerReactor(const ServiceContext& service,
                                   const grpc::CallbackServerContext& context,
                                   absl::StatusOr<std::shared_ptr<const TokenizerArchive>> archive)
    : call_(service, RpcMethod::kVllmGetTokenizer, context) {
  const absl::Status& status = call_.admitted().ok() ? archive.status() : call_.admitted();
  if (!status.ok()) {
    Finish(call_.End(status));
    return;
  }
  archive_ = *std::move(archive);
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
