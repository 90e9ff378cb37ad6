#include "base/read_words.h"

#include <fstream>

namespace awq {

std::optional<std::uint64_t> read_word(const std::filesystem::path& path, const std::string& name) {
  std::ifstream file(path);
  std::string key;
  std::uint64_t value = 0;
  std::string line;
  while (file >> key) {
    if (key == name && file >> value) return value;
    std::getline(file, line);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

}  // namespace awq
