#include "server/openai/constraints.h"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <mutex>
#include <vector>

#include "base/check.h"
#include "chat/grammar_constraint.h"
#include "chat/thinking_budget.h"
#include "chat/tool_format.h"
#include "grammar/compile.h"
#include "grammar/matcher.h"
#include "server/openai/bodies.h"

namespace awq::server {
namespace {

using Kind = ConstraintSpec::Kind;
using Compiled = std::shared_ptr<grammar::CompiledGrammar>;

constexpr std::size_t kGrammarCacheBytes = 16 << 20;  // of one compiled grammar
constexpr std::size_t kKeptGrammars = 16;

/// What was compiled of late, the latest first: agents send the same tools again and again.
class CompiledCache {
 public:
  Compiled find(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& entry) { return entry.first == key; });
    if (found == kept_.end()) return nullptr;
    kept_.splice(kept_.begin(), kept_, found);
    return found->second;
  }
  void keep(const std::string& key, const Compiled& compiled) {
    const std::lock_guard lock(mutex_);
    kept_.emplace_front(key, compiled);
    if (kept_.size() > kKeptGrammars) kept_.pop_back();
  }

 private:
  std::mutex mutex_;
  std::list<std::pair<std::string, Compiled>> kept_;
};

grammar::Grammar grammar_of(const ConstraintSpec& spec, const grammar::GrammarLimits& caps) {
  switch (spec.kind) {
    case Kind::kJsonObject:
      return grammar::json_object_grammar(caps);
    case Kind::kJsonSchema:
      return grammar::schema_grammar(to_line(spec.schema), caps);
    case Kind::kRegex:
      return grammar::regex_grammar(spec.pattern, caps);
    case Kind::kChoice:
      return grammar::choice_grammar(spec.choices, caps);
    case Kind::kGrammar:
    case Kind::kNone:
      break;
  }
  return grammar::ebnf_grammar(spec.pattern, caps);
}

std::string key_of(const ConstraintSpec& spec) {
  std::string text = std::to_string(static_cast<int>(spec.kind)) + " " + to_line(spec.schema) + spec.pattern;
  for (const std::string& choice : spec.choices) text += std::to_string(choice.size()) + ":" + choice;
  return text;
}

}  // namespace

grammar::GrammarLimits grammar_limits(const ServeLimits& limits) {
  grammar::GrammarLimits caps;
  caps.source_bytes =
      static_cast<std::size_t>(std::max({limits.max_schema_bytes, limits.max_pattern_bytes, limits.max_grammar_bytes}));
  caps.states = caps.nodes = static_cast<std::size_t>(limits.max_grammar_states);
  return caps;
}

ApiError too_expensive(const std::string& message, const std::string& field) {
  return ApiError(400, fmt::format("{}: {} (--max-grammar-work)", field, message), field)
      .set_limit(&ServeLimits::max_grammar_work);
}

ConstraintFactory compile_grammar(const ServeLimits& limits, const std::string& key,
                                  const std::function<grammar::Grammar()>& make,
                                  const std::shared_ptr<const grammar::Vocabulary>& vocabulary,
                                  const std::string& field) {
  static CompiledCache cache;  // a process serves one model
  Compiled compiled = cache.find(key);
  if (!compiled) {
    try {
      compiled = std::make_shared<grammar::CompiledGrammar>(
          make(), vocabulary,
          grammar::MatchLimits{.cache_bytes = kGrammarCacheBytes,
                               .work = static_cast<std::uint64_t>(limits.max_grammar_work)});
      // What the first token may be is found here, not on the engine's thread, and an error of it comes before a
      // stream.
      std::vector<std::uint32_t> mask(vocabulary->mask_words());
      grammar::Matcher(compiled).allowed(mask);
    } catch (const grammar::TooExpensive& error) {
      throw too_expensive(error.message(), field);
    } catch (const grammar::TooLarge& error) {
      throw ApiError(400, fmt::format("{}: {} (--max-grammar-states)", field, error.message()), field)
          .set_limit(&ServeLimits::max_grammar_states);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument) throw;
      throw ApiError(400, field + ": " + error.message(), field);
    }
    cache.keep(key, compiled);
  }
  return [compiled] { return std::make_unique<chat::GrammarConstraint>(compiled); };
}

ConstraintFactory compile_constraint(const Service& service, const ConstraintSpec& spec, bool after_reasoning) {
  if (spec.kind == Kind::kNone) return nullptr;
  const std::string key = (after_reasoning ? "thinking " : "plain ") + key_of(spec);
  const auto make = [&] {
    grammar::Grammar made = grammar_of(spec, grammar_limits(service.limits()));
    if (after_reasoning) chat::add_reasoning_prefix(made);
    return made;
  };
  // The end of a thought is a special token in some vocabularies.
  return compile_grammar(service.limits(), key, make,
                         after_reasoning ? service.model().call_vocabulary : service.model().vocabulary, spec.field);
}

ConstraintFactory limit_thought(const Service& service, std::int64_t budget, bool inside, ConstraintFactory inner) {
  const chat::ThinkingBudget::Options options{
      .vocabulary = service.model().call_vocabulary,
      .end_ids = service.model().tokenizer->encode("</think>", {.add_special_tokens = false, .parse_special = true}),
      .budget = budget,
      .inside = inside};
  return [options, inner = std::move(inner)] {
    return std::make_unique<chat::ThinkingBudget>(options, inner ? inner() : nullptr);
  };
}

}  // namespace awq::server
