#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/split_regex.h"

#include <pcre2.h>

#include <array>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

constexpr std::size_t kMaxPatternBytes = 16 << 10;
/// Steps of one attempt at one position. The patterns in use need a handful per character.
constexpr std::uint32_t kMatchLimit = 20'000'000;
constexpr std::uint32_t kDepthLimit = 1'000'000;
constexpr std::uint32_t kHeapLimitKib = 64 << 10;
/// Time for all attempts on one text, against patterns that fail slowly at every position.
constexpr double kMaxSeconds = 5.0;
constexpr double kMaxSecondsPerMegabyte = 5.0;

struct CodeFree {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataFree {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct MatchContextFree {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct CompileContextFree {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct SplitRegex::Compiled {
  std::unique_ptr<pcre2_code, CodeFree> code;
  std::unique_ptr<pcre2_match_context, MatchContextFree> context;
};

SplitRegex::SplitRegex(const std::string& pattern, const std::string& where)
    : compiled_(std::make_unique<Compiled>()), where_(where) {
  if (pattern.empty() || pattern.size() > kMaxPatternBytes) {
    fail(ErrorCode::kUnsupported, "{}: a pattern of {} bytes, expected 1 to {}", where, pattern.size(),
         kMaxPatternBytes);
  }
  const std::string translated = translate_pattern(pattern, where);
  const std::unique_ptr<pcre2_compile_context, CompileContextFree> compile(pcre2_compile_context_create(nullptr));
  AWQ_CHECK(compile != nullptr);
  pcre2_set_newline(compile.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(compile.get(), 64);
  // Anchored: this class moves the start itself, so that one call never scans a whole text for a hopeless pattern.
  const std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED | PCRE2_MULTILINE |
                                PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE;
  int error = 0;
  PCRE2_SIZE offset = 0;
  compiled_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options,
                                      &error, &offset, compile.get()));
  if (!compiled_->code) {
    fail(ErrorCode::kUnsupported, "{}: the pattern \"{}\" does not compile: {} at byte {} of \"{}\"", where,
         printable(pattern), error_text(error), offset, printable(translated));
  }
  // Without JIT (not built in, or no executable memory) the same code runs interpreted.
  pcre2_jit_compile(compiled_->code.get(), PCRE2_JIT_COMPLETE);
  compiled_->context.reset(pcre2_match_context_create(nullptr));
  AWQ_CHECK(compiled_->context != nullptr);
  pcre2_set_match_limit(compiled_->context.get(), kMatchLimit);
  pcre2_set_depth_limit(compiled_->context.get(), kDepthLimit);
  pcre2_set_heap_limit(compiled_->context.get(), kHeapLimitKib);
}

SplitRegex::~SplitRegex() = default;
SplitRegex::SplitRegex(SplitRegex&&) noexcept = default;
SplitRegex& SplitRegex::operator=(SplitRegex&&) noexcept = default;

void SplitRegex::for_each(std::string_view text, const std::function<void(std::size_t, std::size_t)>& found) const {
  const std::unique_ptr<pcre2_match_data, MatchDataFree> data(pcre2_match_data_create(1, nullptr));
  AWQ_CHECK(data != nullptr);
  const auto match = [&](std::size_t at, std::uint32_t options) {
    return pcre2_match(compiled_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                       PCRE2_NO_UTF_CHECK | options, data.get(), compiled_->context.get());
  };
  const auto start = std::chrono::steady_clock::now();
  const double budget = kMaxSeconds + kMaxSecondsPerMegabyte * static_cast<double>(text.size()) * 1e-6;
  constexpr std::size_t kNoEnd = ~std::size_t{0};
  std::size_t last_end = kNoEnd;
  for (std::size_t at = 0, attempts = 0; at <= text.size(); ++attempts) {
    if (attempts % 8 == 7) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      if (spent.count() > budget) {
        fail(ErrorCode::kUnsupported, "{}: the pattern takes more than {:.0f} s on {} bytes of text", where_, budget,
             text.size());
      }
    }
    int result = match(at, 0);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(at, PCRE2_NO_JIT);
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) {
      fail(ErrorCode::kUnsupported, "{}: the pattern gives up at byte {} of {}: {}", where_, at, text.size(),
           error_text(result));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
    const bool is_match = result >= 0 && range[1] >= at && range[0] == at;
    const std::size_t end = is_match ? range[1] : at;
    // An empty match right behind another match does not count.
    if (is_match && !(end == at && at == last_end)) {
      found(at, end);
      last_end = end;
    }
    if (end > at) {
      at = end;
    } else {
      at += at < text.size() ? scalar_at(text, at).bytes : 1;
    }
  }
}

}  // namespace awq::text
