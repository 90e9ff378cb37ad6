#include "grammar/json_rules.h"

#include <fmt/format.h>

namespace awq::grammar {
namespace {

const CharSet& digit_set() {
  static const CharSet set({{'0', '9'}});
  return set;
}
const CharSet& hex_set() {
  static const CharSet set({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  return set;
}

}  // namespace

const CharSet& unescaped_json_chars() {
  static const CharSet set = CharSet({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}).complement();
  return set;
}

NodeId write_in_json_string(Grammar& grammar, const CharSet& set) {
  std::vector<NodeId> parts;
  const CharSet plain = set.without(unescaped_json_chars().complement());
  if (!plain.empty()) parts.push_back(grammar.char_class(plain));
  constexpr std::string_view kSpecial = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  for (char32_t c = 0; c <= '\\'; ++c) {
    if (unescaped_json_chars().contains(c) || !set.contains(c)) continue;
    const std::size_t known = kSpecial.find(static_cast<char>(c));
    parts.push_back(grammar.text(known == std::string_view::npos ? fmt::format("\\u{:04x}", static_cast<unsigned>(c))
                                                                 : std::string("\\") + kLetters[known]));
  }
  return grammar.choice(std::move(parts));
}

NodeId JsonRules::shared(const std::string& name, NodeId body) {
  const RuleId rule = grammar_.declare(name);
  grammar_.define(rule, body);
  return grammar_.rule(rule);
}

NodeId JsonRules::once(std::optional<RuleId>& rule, const char* name, NodeId (JsonRules::*body)()) {
  if (!rule) {
    rule = grammar_.declare(name);
    grammar_.define(*rule, (this->*body)());
  }
  return grammar_.rule(*rule);
}

NodeId JsonRules::space() { return once(space_, "space", &JsonRules::space_body); }
NodeId JsonRules::string() { return once(string_, "string", &JsonRules::string_body); }
NodeId JsonRules::string_char() { return once(char_, "char", &JsonRules::char_body); }
NodeId JsonRules::integer() { return once(integer_, "integer", &JsonRules::integer_body); }
NodeId JsonRules::number() { return once(number_, "number", &JsonRules::number_body); }
NodeId JsonRules::comma() { return grammar_.sequence({grammar_.text(","), space()}); }
NodeId JsonRules::colon() { return grammar_.sequence({grammar_.text(":"), space()}); }

NodeId JsonRules::space_body() {
  const NodeId indent = grammar_.repeat(grammar_.char_class(CharSet({{' ', ' '}, {'\t', '\t'}})), 0, 20);
  return grammar_.choice({grammar_.empty(), grammar_.text(" "), grammar_.sequence({grammar_.text("\n"), indent})});
}

NodeId JsonRules::string_body() {
  return grammar_.sequence({grammar_.text("\""), grammar_.repeat(string_char(), 0, kUnbounded), grammar_.text("\"")});
}

NodeId JsonRules::char_body() {
  Grammar& g = grammar_;
  const NodeId hex = g.char_class(hex_set());
  const auto set = [&](std::vector<CharRange> ranges) { return g.char_class(CharSet(std::move(ranges))); };
  // \uXXXX of a character that is no surrogate, or of a pair of them.
  const NodeId not_d = set({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}});
  const NodeId d = set({{'D', 'D'}, {'d', 'd'}});
  const NodeId basic = g.choice({g.sequence({not_d, hex, hex, hex}), g.sequence({d, set({{'0', '7'}}), hex, hex})});
  const NodeId pair = g.sequence({d, set({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), hex, hex, g.text("\\u"), d,
                                  set({{'C', 'F'}, {'c', 'f'}}), hex, hex});
  return g.choice(
      {g.char_class(unescaped_json_chars()),
       g.sequence(
           {g.text("\\"),
            set({{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}})}),
       g.sequence({g.text("\\u"), g.choice({basic, pair})})});
}

NodeId JsonRules::integer_body() {
  Grammar& g = grammar_;
  const NodeId large = g.sequence({g.char_class(CharSet({{'1', '9'}})), g.repeat(g.char_class(digit_set()), 0, 17)});
  return g.sequence({g.optional(g.text("-")), g.choice({g.text("0"), large})});
}

NodeId JsonRules::number_body() {
  Grammar& g = grammar_;
  const NodeId digit = g.char_class(digit_set());
  const NodeId fraction = g.sequence({g.text("."), g.repeat(digit, 1, 17)});
  const NodeId exponent =
      g.sequence({g.char_class(CharSet({{'e', 'e'}, {'E', 'E'}})),
                  g.optional(g.char_class(CharSet({{'+', '+'}, {'-', '-'}}))), g.repeat(digit, 1, 2)});
  return g.sequence({integer(), g.optional(fraction), g.optional(exponent)});
}

void JsonRules::declare_values() {
  if (value_) return;
  Grammar& g = grammar_;
  value_ = g.declare("value");
  object_ = g.declare("object");
  array_ = g.declare("array");
  const NodeId any = g.rule(*value_);
  const NodeId pair = shared("pair", g.sequence({string(), colon(), any}));
  const NodeId pairs = g.sequence({pair, g.repeat(g.sequence({comma(), pair}), 0, kUnbounded), space()});
  g.define(*object_, g.sequence({g.text("{"), space(), g.optional(pairs), g.text("}")}));
  const NodeId items = g.sequence({any, g.repeat(g.sequence({comma(), any}), 0, kUnbounded), space()});
  g.define(*array_, g.sequence({g.text("["), space(), g.optional(items), g.text("]")}));
  g.define(*value_, g.choice({g.rule(*object_), g.rule(*array_), string(), number(), boolean(), null()}));
}

NodeId JsonRules::value() {
  declare_values();
  return grammar_.rule(*value_);
}
NodeId JsonRules::object() {
  declare_values();
  return grammar_.rule(*object_);
}
NodeId JsonRules::array() {
  declare_values();
  return grammar_.rule(*array_);
}

}  // namespace awq::grammar
