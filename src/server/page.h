#pragma once

#include <string_view>

namespace awq::server {

/// The chat page, one HTML file without references.
std::string_view chat_page();

}  // namespace awq::server
