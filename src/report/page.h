#pragma once

#include <string>
#include <vector>

namespace awq::report {

/// A figure with a title above and what to see in it below. `picture` and `caption` are HTML.
std::string figure(const std::string& title, const std::string& picture, const std::string& caption);

/// A table; `rows` and `head` are HTML cells. The first column is a heading, the others are numbers.
std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);

/// A whole page: one file, no reference to any other, light and dark.
std::string page(const std::string& title, const std::string& lead, const std::string& body);

}  // namespace awq::report
