#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/float16.h"

namespace awq::test {

/// The elements of a NumPy file (version 1, C order), whatever its shape. 16-bit integers hold bf16 patterns, as the
/// op-goldens store them.
inline std::vector<float> read_npy(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (bytes.compare(0, 6, "\x93NUMPY") != 0) throw std::runtime_error(path.string() + ": no npy file");
  std::uint16_t header = 0;
  std::memcpy(&header, bytes.data() + 8, 2);
  const std::string description = bytes.substr(10, header);
  const char* data = bytes.data() + 10 + header;
  const std::size_t size = bytes.size() - 10 - header;
  const auto is = [&](const char* type) { return description.find(type) != std::string::npos; };
  std::vector<float> out;
  const auto append = [&](auto sample, auto convert) {
    for (std::size_t at = 0; at + sizeof(sample) <= size; at += sizeof(sample)) {
      std::memcpy(&sample, data + at, sizeof(sample));
      out.push_back(convert(sample));
    }
  };
  if (is("<f4")) {
    append(float{}, [](float v) { return v; });
  } else if (is("<i8")) {
    append(std::int64_t{}, [](std::int64_t v) { return static_cast<float>(v); });
  } else if (is("<i2") || is("<u2")) {
    append(std::uint16_t{}, [](std::uint16_t v) { return to_float(Bf16{v}); });
  } else {
    throw std::runtime_error(path.string() + ": element type not handled: " + description);
  }
  return out;
}

}  // namespace awq::test
