#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "awq/error.h"
#include "template/runtime.h"

namespace awq::templates {

/// raise_exception() of a template: it refuses this conversation, in its own words. For a client: HTTP 400.
class TemplateRefusal : public Error {
 public:
  using Error::Error;
};

/// Renders a template. `variables` are what it sees beside the functions of the language (namespace, range, dict,
/// raise_exception, strftime_now). Same input, same result; nothing outside is read but `clock`, which may be empty.
/// Throws TemplateRefusal, or kInvalidArgument for what the template cannot do with these variables (an undefined
/// value used, a type that does not fit, a budget spent), naming `name` and the line.
std::string render(const Block& block, const std::string& name, std::vector<std::pair<std::string, Value>> variables,
                   const RenderLimits& limits, const std::function<std::tm()>& clock);

}  // namespace awq::templates
