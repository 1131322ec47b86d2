#include "engine/tokenizer/decode_stage.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/tokenizer/byte_level.h"

namespace spade {
namespace {

class JoinStage final : public DecodeStage {
 public:
  explicit JoinStage(std::string separator) : separator_(std::move(separator)) {}

  void Push(std::string_view piece, DecodeState& state, Sink sink) const override {
    if (std::exchange(state.has_begun, true)) sink(separator_);
    sink(piece);
  }

 private:
  std::string separator_;
};

// held: the bytes of an unfinished character, at most three.
class ByteLevelStage final : public DecodeStage {
 public:
  void Push(std::string_view piece, DecodeState& state, Sink sink) const override {
    const std::optional<std::string> bytes = ByteLevelBytes(piece);
    // A piece with characters outside the alphabet stands for itself.
    state.held += bytes.has_value() ? std::string_view(*bytes) : piece;
    std::string_view rest = state.held;
    std::string text;
    while (!rest.empty()) {
      const Utf8Prefix prefix = ScanUtf8(rest);
      if (prefix.kind == Utf8Prefix::Kind::kUnfinished) break;
      text += prefix.kind == Utf8Prefix::Kind::kCharacter ? rest.substr(0, prefix.length)
                                                          : kReplacementCharacter;
      rest.remove_prefix(prefix.length);
    }
    state.held.erase(0, state.held.size() - rest.size());
    if (!text.empty()) sink(text);
  }

  void Flush(DecodeState& state, Sink sink) const override {
    if (!state.held.empty()) sink(kReplacementCharacter);
    state.held.clear();
  }
};

// A run of byte pieces is text where all of it is valid, else one U+FFFD a byte, so it waits for
// its end; a run that long is settled before, so that neither delay nor memory grows.
// held: a run that is valid so far; count: its bytes in finished characters; has_begun: the run is
// broken already.
class ByteFallbackStage final : public DecodeStage {
 public:
  void Push(std::string_view piece, DecodeState& state, Sink sink) const override {
    const std::optional<char> byte = ParseByte(piece);
    if (byte.has_value()) {
      PushByte(*byte, state, sink);
    } else {
      Flush(state, sink);
      sink(piece);
    }
  }

  void Flush(DecodeState& state, Sink sink) const override {
    if (state.count < state.held.size()) {
      SinkBroken(state, sink);
    } else if (!state.held.empty()) {
      sink(state.held);
    }
    state = {};
  }

  void DropHeld(DecodeState& state) const override {
    state.held.erase(0, state.count);
    state.count = 0;
  }

 private:
  static constexpr size_t kMaxRunBytes = 64;

  static std::optional<char> ParseByte(std::string_view piece) {
    if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') {
      return std::nullopt;
    }
    const std::string hex(piece.substr(3, 2));
    if (!absl::ascii_isxdigit(hex[0]) || !absl::ascii_isxdigit(hex[1])) return std::nullopt;
    return static_cast<char>(std::stoi(hex, nullptr, 16));
  }

  static void SinkBroken(DecodeState& state, Sink sink) {
    for (size_t i = 0; i < state.held.size(); ++i) sink(kReplacementCharacter);
    state.held.clear();
    state.count = 0;
  }

  static void PushByte(char byte, DecodeState& state, Sink sink) {
    state.held += byte;
    if (!state.has_begun) {
      const Utf8Prefix prefix = ScanUtf8(std::string_view(state.held).substr(state.count));
      if (prefix.kind == Utf8Prefix::Kind::kCharacter) state.count += prefix.length;
      state.has_begun = prefix.kind == Utf8Prefix::Kind::kBroken;
    }
    if (state.has_begun) {
      SinkBroken(state, sink);
    } else if (state.count >= kMaxRunBytes) {
      sink(std::string_view(state.held).substr(0, state.count));
      state.held.erase(0, state.count);
      state.count = 0;
    }
  }
};

// has_begun: a piece was pushed.
class MetaspaceStage final : public DecodeStage {
 public:
  MetaspaceStage(Metaspace metaspace, bool is_fused) : is_fused_(is_fused) {
    AppendUtf8(metaspace.replacement, replacement_);
    drops_in_first_ = metaspace.scheme != Metaspace::Scheme::kNever;
  }

  void Push(std::string_view piece, DecodeState& state, Sink sink) const override {
    const bool is_first = is_fused_ || !state.has_begun;
    state.has_begun = true;
    const std::string_view to = is_first && drops_in_first_ ? "" : " ";
    sink(ReplaceAll(piece, replacement_, to));
  }

 private:
  bool is_fused_;
  bool drops_in_first_;
  std::string replacement_;
};

// held, where fused: a tail that may be the beginning of `from`.
class ReplaceStage final : public DecodeStage {
 public:
  ReplaceStage(std::string from, std::string to, bool is_fused)
      : from_(std::move(from)), to_(std::move(to)), is_fused_(is_fused) {}

  void Push(std::string_view piece, DecodeState& state, Sink sink) const override {
    if (!is_fused_) {
      sink(ReplaceAll(piece, from_, to_));
      return;
    }
    state.held += piece;
    std::string text;
    size_t done = 0;
    for (size_t at = state.held.find(from_); at != std::string::npos;
         at = state.held.find(from_, done)) {
      text.append(state.held, done, at - done);
      text += to_;
      done = at + from_.size();
    }
    const size_t tail = TailSize(std::string_view(state.held).substr(done));
    text.append(state.held, done, state.held.size() - done - tail);
    state.held.erase(0, state.held.size() - tail);
    if (!text.empty()) sink(text);
  }

  void Flush(DecodeState& state, Sink sink) const override {
    if (!state.held.empty()) sink(state.held);
    state.held.clear();
  }

  void DropHeld(DecodeState& state) const override { state.held.clear(); }

 private:
  size_t TailSize(std::string_view text) const {
    size_t size = std::min(text.size(), from_.size() - 1);
    while (size > 0 && !text.ends_with(std::string_view(from_).substr(0, size))) --size;
    return size;
  }

  std::string from_;
  std::string to_;
  bool is_fused_;
};

// count: characters stripped at the start; has_begun: the start is over; held: the trailing
// `content` characters, at most `stop` of them.
class StripStage final : public DecodeStage {
 public:
  StripStage(char32_t content, StripLimits limits, bool is_fused)
      : limits_(limits), is_fused_(is_fused) {
    AppendUtf8(content, content_);
  }

  void Push(std::string_view piece, DecodeState& state, Sink sink) const override {
    if (!is_fused_) state = {};
    while (!state.has_begun && state.count < limits_.start && piece.starts_with(content_)) {
      piece.remove_prefix(content_.size());
      ++state.count;
    }
    if (piece.empty()) return;
    state.has_begun = true;
    state.held += piece;
    const std::string_view text = state.held;
    size_t stripped = 0;
    while (stripped < limits_.stop &&
           text.substr(0, text.size() - stripped * content_.size()).ends_with(content_)) {
      ++stripped;
    }
    const size_t keep = text.size() - stripped * content_.size();
    if (keep > 0) sink(text.substr(0, keep));
    state.held.erase(0, keep);
  }

  void DropHeld(DecodeState& state) const override { state.held.clear(); }

 private:
  std::string content_;
  StripLimits limits_;
  bool is_fused_;
};

// held: the last piece; has_begun: there is one.
class WordSuffixStage final : public DecodeStage {
 public:
  explicit WordSuffixStage(std::string suffix) : suffix_(std::move(suffix)) {}

  void Push(std::string_view piece, DecodeState& state, Sink sink) const override {
    if (state.has_begun) sink(ReplaceAll(state.held, suffix_, " "));
    state.held = piece;
    state.has_begun = true;
  }

  void Flush(DecodeState& state, Sink sink) const override {
    if (state.has_begun) sink(ReplaceAll(state.held, suffix_, ""));
    state = {};
  }

  void DropHeld(DecodeState& state) const override {
    state.held = state.held.ends_with(suffix_) ? suffix_ : "";
  }

 private:
  std::string suffix_;
};

}  // namespace

std::unique_ptr<DecodeStage> MakeJoinStage(std::string separator) {
  return std::make_unique<JoinStage>(std::move(separator));
}

std::unique_ptr<DecodeStage> MakeByteLevelStage() { return std::make_unique<ByteLevelStage>(); }

std::unique_ptr<DecodeStage> MakeByteFallbackStage() {
  return std::make_unique<ByteFallbackStage>();
}

std::unique_ptr<DecodeStage> MakeMetaspaceStage(Metaspace metaspace, bool is_fused) {
  return std::make_unique<MetaspaceStage>(metaspace, is_fused);
}

std::unique_ptr<DecodeStage> MakeReplaceStage(std::string from, std::string to, bool is_fused) {
  return std::make_unique<ReplaceStage>(std::move(from), std::move(to), is_fused);
}

std::unique_ptr<DecodeStage> MakeStripStage(char32_t content, StripLimits limits, bool is_fused) {
  return std::make_unique<StripStage>(content, limits, is_fused);
}

std::unique_ptr<DecodeStage> MakeWordSuffixStage(std::string suffix) {
  return std::make_unique<WordSuffixStage>(std::move(suffix));
}

}  // namespace spade
