#pragma once

#include "file/json.h"
#include "grammar/grammar.h"

namespace awq::grammar {

/// Adds what matches a JSON schema (draft 2020-12 and 7) to a grammar; every text that matches satisfies the schema.
///
/// Known: type, enum, const, properties, required, additionalProperties, minProperties and maxProperties (without
/// properties), items, prefixItems, minItems, maxItems, minLength, maxLength, pattern, format (date, time, date-time,
/// uuid, ipv4, email; others are annotations), minimum, maximum and the exclusive ones, anyOf, oneOf with branches that
/// exclude each other, allOf, $ref within the document, and annotations.
/// What is narrower than the standard: properties come in the order of the schema; those not declared are refused
/// unless additionalProperties says otherwise or nothing is declared; a keyword implies its type.
/// Throws kInvalidArgument naming the place for anything else, rather than accept texts that the schema does not.
NodeId add_json_schema(Grammar& grammar, const file::OrderedJson& schema);

}  // namespace awq::grammar
