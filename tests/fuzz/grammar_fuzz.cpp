// What clients send to constrain a text. First byte of the input: 0 a regex, 1 a grammar, else a JSON schema. One that
// is accepted must give masks whose tokens it takes, and what a schema leads to must be JSON.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "awq/error.h"
#include "grammar/compile.h"

namespace {

using namespace awq::grammar;

std::shared_ptr<const Vocabulary> vocabulary() {
  static const auto shared = [] {
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
    for (const char* more : {"{\"", "\":", "\"}", "[]", "true", "ab", "\xC3\xA9", "12"}) tokens.emplace_back(more);
    tokens.emplace_back("<eos>");
    const auto eos = static_cast<std::int32_t>(tokens.size() - 1);
    return std::make_shared<const Vocabulary>(std::move(tokens), std::vector<std::int32_t>{eos});
  }();
  return shared;
}

void walk(const Grammar& grammar, bool is_json) {
  const auto ready = std::make_shared<CompiledGrammar>(grammar, vocabulary(), MatchLimits{.cache_bytes = 1 << 20});
  Matcher matcher(ready);
  std::vector<std::uint32_t> mask(vocabulary()->mask_words());
  std::string text;
  std::uint64_t random = 88172645463325252ULL;
  for (int step = 0; step < 40; ++step) {
    matcher.allowed(mask);
    std::vector<std::int32_t> ids;
    for (std::size_t id = 0; id < vocabulary()->size(); ++id) {
      if ((mask[id / 32] >> (id % 32) & 1) != 0) ids.push_back(static_cast<std::int32_t>(id));
    }
    if (ids.empty()) return;  // a text that cannot be finished within the depth of the stack
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    const std::int32_t id = ids[random % ids.size()];
    if (!matcher.accept(id)) std::abort();
    if (!vocabulary()->is_eos(id)) text += vocabulary()->bytes(id);
    if (!matcher.finished()) continue;
    if (is_json && !awq::file::Json::accept(text)) std::abort();
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view source(reinterpret_cast<const char*>(data) + 1, size - 1);
  GrammarLimits limits;
  limits.source_bytes = 4096;
  limits.repeat = 200;
  limits.nodes = 5000;
  limits.states = 5000;
  try {
    if (data[0] == 0) {
      walk(regex_grammar(source, limits), false);
    } else if (data[0] == 1) {
      walk(ebnf_grammar(source, limits), false);
    } else {
      walk(schema_grammar(source, limits), true);
    }
  } catch (const awq::Error& error) {
    if (error.code() != awq::ErrorCode::kInvalidArgument) std::abort();
  }
  return 0;
}
