#pragma once

// What the tests of this folder share. Included by *_test.cpp only.

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "formats/codec.h"
#include "support/errors.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace awq::formats::test {

using awq::test::TempFolder;

inline void write_bytes(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

struct NamedTensor {
  TensorSpec spec;
  std::vector<std::byte> bytes;
};

template <typename T>
NamedTensor named(std::string name, DType dtype, std::vector<std::uint64_t> shape, const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {{std::move(name), dtype, std::move(shape)}, {bytes.begin(), bytes.end()}};
}

inline NamedTensor named(std::string name, const EncodedTensor& encoded) {
  return {{std::move(name), encoded.dtype, encoded.shape}, encoded.bytes};
}

/// A file's bytes, laid out by plan_safetensors().
inline std::string safetensors_bytes(const std::vector<NamedTensor>& tensors) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) specs.push_back(tensor.spec);
  const SafetensorsLayout layout = plan_safetensors(specs);
  std::string out = layout.head;
  out.resize(layout.file_size);
  for (const StoredTensor& stored : layout.tensors) {
    for (const NamedTensor& tensor : tensors) {
      if (tensor.spec.name != stored.name) continue;
      EXPECT_EQ(tensor.bytes.size(), stored.size_bytes()) << stored.name;
      if (!tensor.bytes.empty()) std::memcpy(out.data() + stored.offset, tensor.bytes.data(), tensor.bytes.size());
    }
  }
  return out;
}

inline void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  write_bytes(path, safetensors_bytes(tensors));
}

/// A file whose header is `json` as it is, followed by `data_bytes` zeros.
inline std::string raw_safetensors(std::string_view json, std::size_t data_bytes) {
  const std::uint64_t length = json.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  out += json;
  out.append(data_bytes, '\0');
  return out;
}

using awq::test::error_of;

inline void expect_parts(const std::string& text, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
  }
}

/// Skips the test when the shared data are not there.
#define AWQ_SHARED_FOLDER(variable, relative)                                                 \
  const std::filesystem::path variable = std::filesystem::path(AWQ_SHARED_DATA) / (relative); \
  if (!std::filesystem::is_directory(variable)) GTEST_SKIP() << "no shared data at " << (variable)

}  // namespace awq::formats::test
