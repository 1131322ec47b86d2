#include "engine/tokenizer/regex_syntax.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"

namespace spade {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;

constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kHexSet = "0-9A-Fa-f";
constexpr size_t kNoAtom = std::string::npos;

// Lower case, without '_', ' ' and '-', as both engines compare property names.
constexpr std::array kLongCategories = {
    NamePair{"letter", "L"},
    NamePair{"uppercaseletter", "Lu"},
    NamePair{"lowercaseletter", "Ll"},
    NamePair{"titlecaseletter", "Lt"},
    NamePair{"modifierletter", "Lm"},
    NamePair{"otherletter", "Lo"},
    NamePair{"mark", "M"},
    NamePair{"nonspacingmark", "Mn"},
    NamePair{"spacingmark", "Mc"},
    NamePair{"enclosingmark", "Me"},
    NamePair{"number", "N"},
    NamePair{"decimalnumber", "Nd"},
    NamePair{"letternumber", "Nl"},
    NamePair{"othernumber", "No"},
    NamePair{"punctuation", "P"},
    NamePair{"connectorpunctuation", "Pc"},
    NamePair{"dashpunctuation", "Pd"},
    NamePair{"openpunctuation", "Ps"},
    NamePair{"closepunctuation", "Pe"},
    NamePair{"initialpunctuation", "Pi"},
    NamePair{"finalpunctuation", "Pf"},
    NamePair{"otherpunctuation", "Po"},
    NamePair{"symbol", "S"},
    NamePair{"mathsymbol", "Sm"},
    NamePair{"currencysymbol", "Sc"},
    NamePair{"modifiersymbol", "Sk"},
    NamePair{"othersymbol", "So"},
    NamePair{"separator", "Z"},
    NamePair{"spaceseparator", "Zs"},
    NamePair{"lineseparator", "Zl"},
    NamePair{"paragraphseparator", "Zp"},
    NamePair{"other", "C"},
    NamePair{"control", "Cc"},
    NamePair{"format", "Cf"},
    NamePair{"alpha", "Alphabetic"},
    NamePair{"digit", "Nd"},
    NamePair{"space", "White_Space"},
    NamePair{"upper", "Uppercase"},
    NamePair{"lower", "Lowercase"},
    NamePair{"cntrl", "Cc"},
};

std::string PropertyName(std::string_view name) {
  std::string key;
  for (const char c : name) {
    if (c != '_' && c != ' ' && c != '-') key += absl::ascii_tolower(c);
  }
  for (const auto& [from, to] : kLongCategories) {
    if (key == from) return std::string(to);
  }
  return std::string(name);
}

absl::Status Unsupported(std::string_view what) {
  return absl::UnimplementedError(StrCat("regular expression: ", what));
}

// One pass over the pattern, writing as it reads.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (!AtEnd()) SPADE_RETURN_IF_ERROR(Item());
    return std::move(out_);
  }

 private:
  bool AtEnd() const { return pos_ >= in_.size(); }
  std::string_view Rest() const { return in_.substr(pos_); }
  bool Take(std::string_view prefix) {
    if (!Rest().starts_with(prefix)) return false;
    pos_ += prefix.size();
    return true;
  }

  absl::Status Item() {
    const char c = in_[pos_];
    if (c == '\\') return Escape();
    if (c == '[') return Class();
    if (c == '(') return OpenGroup();
    if (c == '{') return Interval();
    if (c == ')') {
      // The whole group is the atom that a quantifier after it repeats.
      atom_ = group_starts_.empty() ? kNoAtom : group_starts_.back();
      if (!group_starts_.empty()) group_starts_.pop_back();
    } else if (c != '*' && c != '+' && c != '?') {
      atom_ = out_.size();
    }
    CopyChar();
    return absl::OkStatus();
  }

  void CopyChar() {
    const size_t length = FirstChar(Rest()).length;
    out_ += StrCat(Rest().substr(0, length));
    pos_ += length;
  }

  absl::Status OpenGroup() {
    group_starts_.push_back(out_.size());
    if (Rest().starts_with("(?~")) return Unsupported("absent operator (?~");
    if (Rest().starts_with("(?#")) {  // a comment may hold anything
      group_starts_.pop_back();
      const size_t end = std::min(Rest().find(')'), Rest().size() - 1);
      pos_ += end + 1;
      return absl::OkStatus();
    }
    if (!Take("(?")) {
      CopyChar();
      return absl::OkStatus();
    }
    out_ += "(?";
    const size_t flags_end = Rest().find_first_not_of("imxs-");
    if (flags_end == 0 || flags_end == std::string_view::npos) return absl::OkStatus();
    if (Rest()[flags_end] != ':' && Rest()[flags_end] != ')') return absl::OkStatus();
    for (const char flag : Rest().substr(0, flags_end)) out_ += flag == 'm' ? 's' : flag;
    pos_ += flags_end;
    return absl::OkStatus();
  }

  // {n}, {n,}, {n,m}, {,m}; anything else in braces is literal to both engines.
  absl::Status Interval() {
    const size_t end = Rest().find('}');
    const std::string_view body = end == std::string_view::npos ? "" : Rest().substr(1, end - 1);
    const bool is_interval = body.find_first_not_of("0123456789,") == std::string_view::npos &&
                             body.find_first_of("0123456789") != std::string_view::npos &&
                             std::count(body.begin(), body.end(), ',') <= 1;
    if (!is_interval) {
      atom_ = out_.size();
      out_ += "\\{";
      ++pos_;
      return absl::OkStatus();
    }
    pos_ += end + 1;
    out_ += StrCat(body.front() == ',' ? "{0" : "{", body, "}");
    if (AtEnd() || in_[pos_] != '+') return absl::OkStatus();
    // To PCRE2 this would be possessive; to Oniguruma it repeats the interval.
    if (atom_ == kNoAtom) return Unsupported("'+' after an interval that follows nothing");
    out_.insert(atom_, "(?:");
    out_ += ")";
    return absl::OkStatus();
  }

  absl::Status Escape() {
    atom_ = out_.size();
    if (pos_ + 1 >= in_.size()) return Unsupported("a trailing backslash");
    switch (in_[pos_ + 1]) {
      case 'w':
        return Replace(StrCat("[", kWordSet, "]"));
      case 'W':
        return Replace(StrCat("[^", kWordSet, "]"));
      case 'h':
        return Replace(StrCat("[", kHexSet, "]"));
      case 'H':
        return Replace(StrCat("[^", kHexSet, "]"));
      case 'O':
        return Replace("(?s:.)");
      case 'b':
        return Replace(StrCat("(?:(?<=[", kWordSet, "])(?![", kWordSet, "])|(?<![", kWordSet,
                              "])(?=[", kWordSet, "]))"));
      case 'B':
      case 'y':
      case 'Y':
        return Unsupported(StrCat("\\", in_.substr(pos_ + 1, 1)));
      default:
        return SharedEscape();
    }
  }

  // The escapes that mean the same inside and outside a class.
  absl::Status SharedEscape() {
    const char c = in_[pos_ + 1];
    if (c == 's') return Replace(R"(\p{White_Space})");
    if (c == 'S') return Replace(R"(\P{White_Space})");
    if (c == 'p' || c == 'P') return Property();
    if (c == 'u') {
      const std::string_view digits = in_.substr(std::min(pos_ + 2, in_.size()), 4);
      if (digits.size() < 4) return Unsupported("\\u without four digits");
      out_ += StrCat("\\x{", digits, "}");
      pos_ += 6;
      return absl::OkStatus();
    }
    if (c == 'x' && pos_ + 2 < in_.size() && in_[pos_ + 2] >= '8' && in_[pos_ + 2] != '{') {
      return Unsupported("\\x with a byte over 0x7F");
    }
    out_ += '\\';
    ++pos_;
    CopyChar();
    return absl::OkStatus();
  }

  absl::Status Replace(std::string_view replacement) {
    out_ += StrCat(replacement);
    pos_ += 2;
    return absl::OkStatus();
  }

  absl::Status Property() {
    bool negated = in_[pos_ + 1] == 'P';
    pos_ += 2;
    if (!Take("{")) return Unsupported("\\p without braces");
    if (Take("^")) negated = !negated;
    const size_t end = Rest().find('}');
    if (end == std::string_view::npos) return Unsupported("\\p without a closing brace");
    out_ += StrCat(negated ? "\\P{" : "\\p{", PropertyName(Rest().substr(0, end)), "}");
    pos_ += end + 1;
    return absl::OkStatus();
  }

  absl::Status Class() {
    atom_ = out_.size();
    CopyChar();
    if (Take("^")) out_ += '^';
    if (Take("]")) out_ += "\\]";
    int depth = 1;  // sets inside a set are unions, so their brackets fall away
    while (!AtEnd()) {
      if (Take("]")) {
        if (--depth > 0) continue;
        out_ += ']';
        return absl::OkStatus();
      }
      if (Rest().starts_with("&&")) return Unsupported("class intersection &&");
      if (Rest().starts_with("[^")) return Unsupported("a negated set inside a set");
      if (Rest().starts_with("[:")) {
        SPADE_RETURN_IF_ERROR(PosixSet());
      } else if (Take("[")) {
        ++depth;
      } else if (in_[pos_] == '\\') {
        SPADE_RETURN_IF_ERROR(ClassEscape());
      } else {
        CopyChar();
      }
    }
    return Unsupported("a set without its closing bracket");
  }

  absl::Status ClassEscape() {
    if (pos_ + 1 >= in_.size()) return Unsupported("a trailing backslash");
    const char c = in_[pos_ + 1];
    if (c == 'w') return Replace(kWordSet);
    if (c == 'h') return Replace(kHexSet);
    if (c == 'W' || c == 'H' || c == 'R' || c == 'X') {
      return Unsupported(StrCat("\\", in_.substr(pos_ + 1, 1), " inside a set"));
    }
    return SharedEscape();
  }

  absl::Status PosixSet() {
    constexpr std::array kSets = {
        NamePair{"[:alpha:]", R"(\p{Alphabetic})"},
        NamePair{"[:digit:]", R"(\p{Nd})"},
        NamePair{"[:alnum:]", R"(\p{Alphabetic}\p{Nd})"},
        NamePair{"[:space:]", R"(\p{White_Space})"},
        NamePair{"[:upper:]", R"(\p{Uppercase})"},
        NamePair{"[:lower:]", R"(\p{Lowercase})"},
        NamePair{"[:xdigit:]", kHexSet},
        NamePair{"[:word:]", kWordSet},
    };
    for (const auto& [from, to] : kSets) {
      if (!Take(from)) continue;
      out_ += StrCat(to);
      return absl::OkStatus();
    }
    return Unsupported(StrCat("the set ", Rest().substr(0, Rest().find(']') + 1)));
  }

  std::string_view in_;
  size_t pos_ = 0;
  std::string out_;
  size_t atom_ = kNoAtom;             // where in out_ the last quantifiable item starts
  std::vector<size_t> group_starts_;  // where in out_ the open groups start
};

}  // namespace

absl::StatusOr<std::string> TranslateOniguruma(std::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace spade
