#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "chat/output_parser.h"
#include "grammar/matcher.h"

namespace awq::chat::test {

/// Pieces of the same kind, joined: what a client puts together.
inline std::vector<ChatDelta> joined(const std::vector<ChatDelta>& deltas) {
  std::vector<ChatDelta> out;
  for (const ChatDelta& delta : deltas) {
    const bool same = !out.empty() && out.back().kind == delta.kind && delta.kind != ChatDelta::Kind::kToolStart &&
                      out.back().index == delta.index;
    if (same) {
      out.back().text += delta.text;
    } else {
      out.push_back(delta);
    }
  }
  return out;
}

inline std::vector<ChatDelta> fed(std::string_view text, const OutputOptions& options, std::size_t step) {
  OutputParser parser(options);
  std::vector<ChatDelta> out;
  for (std::size_t at = 0; at < text.size(); at += step) {
    for (ChatDelta& delta : parser.push(text.substr(at, step))) out.push_back(std::move(delta));
  }
  for (ChatDelta& delta : parser.finish()) out.push_back(std::move(delta));
  return joined(out);
}

/// "reasoning|content|name(arguments);..." of an answer, the same however it is cut.
inline std::string summary(std::string_view text, const OutputOptions& options) {
  const std::vector<ChatDelta> whole = fed(text, options, text.size() + 1);
  for (const std::size_t step : {1U, 2U, 3U, 7U}) EXPECT_EQ(fed(text, options, step), whole) << text << " by " << step;
  const ParsedOutput parsed = parse_output(text, options);
  std::string out = parsed.reasoning + "|" + parsed.content + "|";
  for (const auto& call : parsed.calls) out += call.name + "(" + call.arguments + ");";
  return out;
}

inline bool grammar_takes(const grammar::Grammar& grammar, std::string_view text) {
  std::vector<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
  grammar::Matcher matcher(std::make_shared<grammar::CompiledGrammar>(
      grammar, std::make_shared<const grammar::Vocabulary>(std::move(bytes), std::span<const std::int32_t>())));
  return matcher.accept_bytes(text) && matcher.can_end();
}

}  // namespace awq::chat::test
