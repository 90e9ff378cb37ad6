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

/// Modules that are stored with the same bits and groups.
struct SchemeSummary {
  std::string part;  ///< "linears", "embedding", "head", or "embedding and head" for one tensor that is both
  int bits = 0;
  std::int64_t group_size = 0;  ///< -1: one group per row
  bool symmetric = false;
  std::int64_t modules = 0;
};

/// A row of the kernel tables for one kind of linear.
struct KernelRow {
  std::string name;
  std::string objection;  ///< why it does not run; empty for the one that does
};
struct KernelSummary {
  std::uint64_t out_features = 0;
  std::uint64_t in_features = 0;
  std::string weights;     ///< "4 bit", "BF16" ..
  std::int64_t count = 0;  ///< linears of this kind and shape
  std::int64_t rows = 0;   ///< tokens at a time
  std::vector<KernelRow> kernels;
};

struct InspectSummary {
  std::string architecture;
  std::uint64_t parameters = 0;
  std::uint64_t tensor_bytes = 0;
  double bits_per_weight = 0;
  std::string format;  ///< of the quantized linears, "" when there are none
  int bits = 0;        ///< of most linears; so are the two below
  std::int64_t group_size = 0;
  bool symmetric = false;
  std::int64_t layers = 0;
  std::int64_t quantized_linears = 0;
  std::int64_t linears = 0;
  std::vector<SchemeSummary> schemes;  ///< of all quantized modules, linears first, that of most of them first
  std::vector<PartSummary> parts;
  std::vector<TensorSummary> tensors;
  std::vector<std::string> problems;
};

/// Which kernel would run for each distinct linear and the head, and why the others would not. `activations`: "int8",
/// "int15" or "f32", the inputs of quantized linears on the processor. With a `device` ("cuda", "cuda:N"), which has to
/// be there, linears of one input stand together, as they run. Throws awq::Error.
std::vector<KernelSummary> explain_kernels(const std::filesystem::path& model, const std::string& activations,
                                           const std::string& device = "cpu");

/// Describes a checkpoint. Reads headers only, unless `deep`: then every weight is read and damaged numbers are
/// reported as problems. Throws awq::Error for what cannot be described at all.
InspectSummary inspect_model(const std::filesystem::path& model, bool deep);

}  // namespace awq
