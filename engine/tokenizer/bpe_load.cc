// How a BpeModel is made from JSON; bpe_model.cc is how it runs.
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"
#include "engine/tokenizer/bpe_model.h"

namespace spade {
namespace {

constexpr std::string_view kWhere = "BPE model";
constexpr int64_t kMaxId = (int64_t{1} << 26) - 1;
constexpr char32_t kNumIndexedChars = 0x3000;
constexpr int32_t kNoSymbol = -1;

struct PairOfPieces {
  std::string_view left;
  std::string_view right;
};

// A merge is "left right", or ["left", "right"].
absl::StatusOr<PairOfPieces> ParseMerge(const Json& json) {
  if (json.is_string()) {
    const std::string_view line = json.get_ref<const std::string&>();
    const size_t space = line.find(' ');
    if (space != std::string_view::npos && line.find(' ', space + 1) == std::string_view::npos) {
      return PairOfPieces{line.substr(0, space), line.substr(space + 1)};
    }
  } else if (json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string()) {
    return PairOfPieces{json[0].get_ref<const std::string&>(),
                        json[1].get_ref<const std::string&>()};
  }
  return BadField(kWhere, "'merges' must hold \"left right\" or [\"left\", \"right\"]");
}

}  // namespace

absl::StatusOr<std::unique_ptr<BpeModel>> BpeModel::FromJson(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const std::string type, StringField(json, "type", "model", "BPE"));
  if (type != "BPE") return NotSupported("model", StrCat("type ", type, "; only BPE is"));
  auto model = std::make_unique<BpeModel>();
  SPADE_RETURN_IF_ERROR(model->LoadOptions(json));
  SPADE_RETURN_IF_ERROR(model->LoadVocab(json));
  SPADE_RETURN_IF_ERROR(model->LoadMerges(json));
  model->IndexSymbols();
  model->FindWholePieces();
  return model;
}

absl::Status BpeModel::LoadOptions(const Json& json) {
  const Json* dropout = FindField(json, "dropout");
  if (dropout != nullptr && !dropout->is_number()) {
    return BadField(kWhere, "'dropout' must be a number or null");
  }
  if (dropout != nullptr && dropout->get<double>() != 0) {
    return NotSupported(kWhere, "'dropout' makes the encoding random; set it to null");
  }
  if (FindField(json, "unk_token") != nullptr) {
    SPADE_ASSIGN_OR_RETURN(unk_token_, StringField(json, "unk_token", kWhere));
  }
  SPADE_ASSIGN_OR_RETURN(continuing_prefix_,
                         StringField(json, "continuing_subword_prefix", kWhere, ""));
  SPADE_ASSIGN_OR_RETURN(word_suffix_, StringField(json, "end_of_word_suffix", kWhere, ""));
  SPADE_ASSIGN_OR_RETURN(byte_fallback_, BoolField(json, "byte_fallback", kWhere, false));
  SPADE_ASSIGN_OR_RETURN(fuse_unk_, BoolField(json, "fuse_unk", kWhere, false));
  SPADE_ASSIGN_OR_RETURN(ignore_merges_, BoolField(json, "ignore_merges", kWhere, false));
  return absl::OkStatus();
}

absl::Status BpeModel::LoadVocab(const Json& json) {
  const Json* vocab = FindField(json, "vocab");
  if (vocab == nullptr || !vocab->is_object()) {
    return BadField(kWhere, "'vocab' must be an object of ids");
  }
  vocab_.reserve(vocab->size());
  for (const auto& [piece, id_json] : vocab->items()) {
    if (!id_json.is_number_integer()) return BadField(kWhere, "'vocab' must map to integers");
    const int64_t id = id_json.get<int64_t>();
    if (id < 0 || id > kMaxId) {
      return BadField(kWhere,
                      StrCat("id ", id, " of '", piece, "' is out of range, 0 to ", kMaxId));
    }
    if (static_cast<size_t>(id) >= piece_of_.size()) {
      piece_of_.resize(id + 1);
      is_used_.resize(id + 1);
    }
    piece_of_[id] = piece;
    is_used_[id] = true;
    vocab_.emplace(piece, Entry{static_cast<int32_t>(id), /*is_whole=*/false});
  }
  return absl::OkStatus();
}

absl::Status BpeModel::LoadMerges(const Json& json) {
  SPADE_ASSIGN_OR_RETURN(const Json* merges, ArrayField(json, "merges", kWhere));
  if (merges->size() > std::numeric_limits<uint32_t>::max()) {
    return BadField(kWhere, "too many 'merges'");
  }
  merges_.reserve(merges->size());
  uint32_t rank = 0;
  for (const Json& merge : *merges) SPADE_RETURN_IF_ERROR(AddMerge(merge, rank++));
  return absl::OkStatus();
}

absl::Status BpeModel::AddMerge(const Json& json, uint32_t rank) {
  SPADE_ASSIGN_OR_RETURN(const PairOfPieces pair, ParseMerge(json));
  const auto unknown = [&](std::string_view piece) {
    return BadField(kWhere,
                    StrCat("merge ", rank, " needs '", piece, "', which is not in 'vocab'"));
  };
  const std::optional<int32_t> left = IdOf(pair.left);
  const std::optional<int32_t> right = IdOf(pair.right);
  if (!left.has_value()) return unknown(pair.left);
  if (!right.has_value()) return unknown(pair.right);
  if (pair.right.size() < continuing_prefix_.size()) return unknown(pair.right);
  const std::string merged = StrCat(pair.left, pair.right.substr(continuing_prefix_.size()));
  const std::optional<int32_t> id = IdOf(merged);
  if (!id.has_value()) return unknown(merged);
  const uint64_t key = static_cast<uint64_t>(*left) << 32 | static_cast<uint32_t>(*right);
  merges_.insert_or_assign(key, Merge{rank, *id});
  return absl::OkStatus();
}

void BpeModel::IndexSymbols() {
  for (int byte = 0; byte < 256; ++byte) {
    id_of_byte_[byte] = IdOf(absl::StrFormat("<0x%02X>", byte)).value_or(kNoSymbol);
  }
  symbol_of_char_.assign(kNumIndexedChars, kNoSymbol);
  for (char32_t c = 0; c < kNumIndexedChars; ++c) {
    std::string text;
    AppendUtf8(c, text);
    symbol_of_char_[c] = IdOf(text).value_or(kNoSymbol);
  }
}

void BpeModel::FindWholePieces() {
  std::vector<int32_t> ids;
  for (auto& [piece, entry] : vocab_) {
    ids.clear();
    if (piece.empty()) continue;
    entry.is_whole = Tokenize(piece, ids).ok() && ids.size() == 1 && ids[0] == entry.id;
  }
}

}  // namespace spade
