#include "bench/peer_result.h"

#include "base/check.h"
#include "file/json.h"

namespace awq::bench {
namespace {

using file::Json;

constexpr const char* kName = "--against: the command's output";
constexpr std::int64_t kMostTokens = 1 << 20;
constexpr std::size_t kMostTests = 64;
constexpr double kMostTokensPerSecond = 1e12;

/// A whole number from `least` to kMostTokens; `other` where the key is missing.
std::int64_t tokens_at(const Json& object, const char* key, std::int64_t least, std::int64_t other) {
  const auto found = object.find(key);
  if (found == object.end()) return other;
  if (!found->is_number_integer() || *found < least || *found > kMostTokens) {
    fail(ErrorCode::kCorruptFile, "{}: \"{}\" is {}, expected a whole number from {} to {}", kName, key,
         printable(found->dump(-1, ' ', true)), least, kMostTokens);
  }
  return found->get<std::int64_t>();
}

double rate_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) fail(ErrorCode::kCorruptFile, "{}: \"{}\" is missing", kName, key);
  const double rate = found->is_number() ? found->get<double>() : 0;
  if (!(rate > 0) || rate > kMostTokensPerSecond) {
    fail(ErrorCode::kCorruptFile, "{}: \"{}\" is {}, expected tokens per second", kName, key,
         printable(found->dump(-1, ' ', true)));
  }
  return rate;
}

std::string text_at(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? printable(found->get_ref<const std::string&>()) : std::string();
}

PeerResult from_llama_bench(const Json& tests) {
  PeerResult out;
  if (tests.size() > kMostTests) {
    fail(ErrorCode::kCorruptFile, "{}: {} tests, expected at most {}", kName, tests.size(), kMostTests);
  }
  for (const Json& test : tests) {
    if (!test.is_object()) fail(ErrorCode::kCorruptFile, "{}: a test is no object", kName);
    if (!test.contains("n_prompt") || !test.contains("n_gen")) {
      fail(ErrorCode::kCorruptFile, "{}: a test lacks \"n_prompt\" or \"n_gen\"", kName);
    }
    const std::int64_t prompt = tokens_at(test, "n_prompt", 0, 0);
    const std::int64_t gen = tokens_at(test, "n_gen", 0, 0);
    const std::int64_t depth = tokens_at(test, "n_depth", 0, 0);
    const double rate = rate_at(test, "avg_ts");
    if (out.name.empty()) out.name = text_at(test, "model_type");
    if ((prompt > 0) == (gen > 0) || (prompt > 0 && depth > 0)) continue;
    out.tests.push_back({.decode = gen > 0, .tokens = prompt + gen, .depth = depth, .tokens_per_s = rate});
  }
  return out;
}

PeerResult from_awq(const Json& report, const PeerSizes& sizes) {
  PeerResult out;
  out.name = "awq bench, " + text_at(report, "weights") + ", " + text_at(report, "instruction_set");
  out.tests.push_back({.tokens = tokens_at(report, "prompt", 1, sizes.prompt),
                       .tokens_per_s = rate_at(report, "prefill_tokens_per_s")});
  out.tests.push_back({.decode = true,
                       .tokens = tokens_at(report, "gen", 1, sizes.gen),
                       .depth = tokens_at(report, "depth", 0, sizes.depth),
                       .tokens_per_s = rate_at(report, "decode_tokens_per_s")});
  return out;
}

}  // namespace

PeerResult parse_peer_result(std::string_view text, const PeerSizes& sizes) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || (text[first] != '[' && text[first] != '{')) {
    const std::string_view line =
        first == std::string_view::npos ? text : text.substr(first, text.find('\n', first) - first);
    fail(ErrorCode::kCorruptFile, "{}: expected what llama-bench -o json or awq bench --json prints, found \"{}\"",
         kName, printable(line));
  }
  const Json json = file::parse_json(text, kName, {.max_depth = 16, .max_values = 100'000});
  PeerResult out = json.is_array() ? from_llama_bench(json) : from_awq(json, sizes);
  if (out.tests.empty()) {
    fail(ErrorCode::kCorruptFile, "{}: no test of a prompt alone or of decoding alone", kName);
  }
  return out;
}

}  // namespace awq::bench
