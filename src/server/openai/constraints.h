#pragma once

#include <functional>
#include <memory>

#include "engine/token_constraint.h"
#include "grammar/grammar.h"
#include "server/openai/common_fields.h"
#include "server/service.h"

namespace awq::server {

using ConstraintFactory = std::function<std::unique_ptr<engine::TokenConstraint>()>;

/// Compiles what a request's text has to follow; null when there is nothing. With `after_reasoning` the model may think
/// first. Throws 400 for what cannot be compiled. What was compiled of late is kept.
ConstraintFactory compile_constraint(const Service& service, const ConstraintSpec& spec, bool after_reasoning = false);

/// The same for a grammar that `make` builds; `key` is a text that is different for different grammars, `field` that of
/// the request which a 400 names.
ConstraintFactory compile_grammar(const ServeLimits& limits, const std::string& key,
                                  const std::function<grammar::Grammar()>& make,
                                  const std::shared_ptr<const grammar::Vocabulary>& vocabulary,
                                  const std::string& field);

/// `inner`, which may be null, with an end after `budget` tokens to a thought. `inside`: the prompt has opened it.
ConstraintFactory limit_thought(const Service& service, std::int64_t budget, bool inside, ConstraintFactory inner);
/// 400: the constraint of `field` needs more than max_grammar_work.
ApiError too_expensive(const std::string& message, const std::string& field);

/// Caps of grammars on this server.
grammar::GrammarLimits grammar_limits(const ServeLimits& limits);

}  // namespace awq::server
