#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "file/json.h"
#include "model/config.h"

namespace awq::model {

/// Typed, bounded reads from config.json; every failure names the file, the key, what it holds and what was expected.
/// A key that holds null reads as missing, except through is_null().
class ConfigReader {
 public:
  ConfigReader(const file::Json& object, std::string file_name) : object_(object), file_(std::move(file_name)) {}

  bool has(const std::string& key) const;
  bool is_null(const std::string& key) const;
  std::int64_t required_size(const std::string& key, std::int64_t max = kMaxSize) const;
  std::int64_t size_or(const std::string& key, std::int64_t fallback, std::int64_t max = kMaxSize) const;
  double number_or(const std::string& key, double fallback) const;
  bool bool_or(const std::string& key, bool fallback) const;
  std::string string_or(const std::string& key, const std::string& fallback) const;
  /// One id or a list of ids.
  std::vector<std::int32_t> ids(const std::string& key) const;
  std::optional<file::Json> object(const std::string& key) const;
  std::vector<std::string> strings(const std::string& key) const;
  /// Throws kUnsupported unless the key is missing or holds `expected`.
  void expect_string(const std::string& key, const std::string& expected) const;
  const std::string& file_name() const { return file_; }

  /// No dimension of a model is larger; keeps products of three of them inside 64 bits.
  static constexpr std::int64_t kMaxSize = 1 << 24;

 private:
  [[noreturn]] void wrong(const std::string& key, const char* expected) const;
  const file::Json* find(const std::string& key) const;

  const file::Json& object_;
  std::string file_;
};

/// What the Llama family and its relatives share: sizes, rope, ties, token ids. `defaults` gives the values of keys
/// that the file leaves out (architectures.md of each class). Checks that heads divide.
ModelConfig read_llama_like(const ConfigReader& in, const ModelConfig& defaults);
/// rope_theta, rope_scaling or rope_parameters.
RopeConfig read_rope(const ConfigReader& in, const ModelConfig& config, double default_theta);

}  // namespace awq::model
