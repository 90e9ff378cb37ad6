#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace awq {

struct TensorSummary {
  std::string name;
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t bytes = 0;
  std::string file;
};

struct PartSummary {
  std::string name;  ///< "embedding", "linears (quantized)" ..
  std::uint64_t tensors = 0;
  std::uint64_t bytes = 0;
};

struct InspectSummary {
  std::string architecture;
  std::uint64_t parameters = 0;
  std::uint64_t tensor_bytes = 0;
  double bits_per_weight = 0;
  std::string format;  ///< of the quantized linears, "" when there are none
  int bits = 0;
  std::int64_t group_size = 0;
  bool symmetric = false;
  std::int64_t layers = 0;
  std::int64_t quantized_linears = 0;
  std::int64_t linears = 0;
  std::vector<PartSummary> parts;
  std::vector<TensorSummary> tensors;
  std::vector<std::string> problems;
};

/// Describes a checkpoint. Reads headers only, unless `deep`: then every weight is read and damaged numbers are
/// reported as problems. Throws awq::Error for what cannot be described at all.
InspectSummary inspect_model(const std::filesystem::path& model, bool deep);

}  // namespace awq
