#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace awq::templates {

enum class TokenKind {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  ///< of a string: its value; of an operator: its characters
  int line = 1;
  std::int64_t integer = 0;
  double number = 0;
};

/// Cuts a template into tokens the way Jinja2 does with trim_blocks and lstrip_blocks on and the last newline of the
/// template dropped. Comments are left out, adjacent pieces of text are separate tokens, the last token is kEnd.
/// Throws kCorruptFile naming `name` and the line.
std::vector<Token> tokenize(std::string_view source, const std::string& name);

/// str.isspace() of Python for one character.
bool is_python_space(char32_t c);
/// Without white space at the end, or at the beginning.
std::string_view strip_right(std::string_view text);
std::string_view strip_left(std::string_view text);

}  // namespace awq::templates
