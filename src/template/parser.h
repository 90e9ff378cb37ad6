#pragma once

#include <string>
#include <string_view>

#include "template/ast.h"

namespace awq::templates {

/// Parses a template. Throws kCorruptFile naming `name` and the line for what is not a template, kUnsupported for
/// statements that load other templates.
Block parse(std::string_view source, const std::string& name);

}  // namespace awq::templates
