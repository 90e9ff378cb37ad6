#include <fmt/format.h>

#include <memory>

#include "awq/error.h"
#include "awq/inspector.h"
#include "cli/commands.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

struct Flags {
  std::string model;
  bool tensors = false;
  bool deep = false;
  bool kernels = false;
  std::string activations = "int8";
};

std::string shape_text(const std::vector<std::uint64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

file::OrderedJson to_json(const InspectSummary& s) {
  file::OrderedJson out;
  out["architecture"] = s.architecture;
  out["parameters"] = s.parameters;
  out["layers"] = s.layers;
  out["tensor_bytes"] = s.tensor_bytes;
  out["bits_per_weight"] = s.bits_per_weight;
  if (s.format.empty()) {
    out["quantization"] = nullptr;
  } else {
    out["quantization"] = {
        {"format", s.format}, {"bits", s.bits}, {"group_size", s.group_size}, {"symmetric", s.symmetric}};
    for (const SchemeSummary& row : s.schemes) {
      out["quantization"]["schemes"].push_back({{"part", row.part},
                                                {"bits", row.bits},
                                                {"group_size", row.group_size},
                                                {"symmetric", row.symmetric},
                                                {"modules", row.modules}});
    }
  }
  out["linears"] = s.linears;
  out["quantized_linears"] = s.quantized_linears;
  for (const PartSummary& part : s.parts)
    out["parts"].push_back({{"name", part.name}, {"tensors", part.tensors}, {"bytes", part.bytes}});
  for (const TensorSummary& t : s.tensors) {
    out["tensors"].push_back(
        {{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}, {"bytes", t.bytes}, {"file", t.file}});
  }
  out["problems"] = s.problems;
  return out;
}

file::OrderedJson kernels_json(const std::vector<KernelSummary>& kinds) {
  file::OrderedJson out = file::OrderedJson::array();
  for (const KernelSummary& k : kinds) {
    file::OrderedJson entry = {{"out_features", k.out_features},
                               {"in_features", k.in_features},
                               {"weights", k.weights},
                               {"linears", k.count},
                               {"rows", k.rows}};
    for (const KernelRow& row : k.kernels) {
      if (row.objection.empty()) {
        entry["kernel"] = row.name;
      } else {
        entry["objections"][row.name] = row.objection;
      }
    }
    out.push_back(std::move(entry));
  }
  return out;
}

void print_kernels(const std::vector<KernelSummary>& kinds) {
  for (const KernelSummary& k : kinds) {
    fmt::print("{} x {} x {}, {} ({} linears)\n", k.rows, k.out_features, k.in_features, k.weights, k.count);
    for (const KernelRow& row : k.kernels)
      fmt::print("  {:<4} {:<36} {}\n", row.objection.empty() ? "runs" : "", row.name, row.objection);
  }
}

int run(const Flags& flags, const CommonFlags& common) {
  if (!flags.kernels && common.device != "cpu" && common.device != "auto") {
    throw Error(ErrorCode::kInvalidArgument, "--device " + common.device + ": inspect has a device for --kernels only");
  }
  const InspectSummary s = inspect_model(flags.model, flags.deep);
  const std::vector<KernelSummary> kernels =
      flags.kernels ? explain_kernels(flags.model, flags.activations, common.device) : std::vector<KernelSummary>();
  if (common.json) {
    file::OrderedJson out = to_json(s);
    if (flags.kernels) out["kernels"] = kernels_json(kernels);
    print_json(out);
    return s.problems.empty() ? 0 : 3;
  }
  fmt::print("{}: {} parameters in {} layers, {}, {:.3f} bits per weight\n", s.architecture, s.parameters, s.layers,
             size_text(s.tensor_bytes), s.bits_per_weight);
  if (s.format.empty()) {
    fmt::print("not quantized\n");
  } else {
    fmt::print("{}: {} bits, group size {}, {}; {} of {} linears\n", s.format, s.bits, s.group_size,
               s.symmetric ? "symmetric" : "with zero points", s.quantized_linears, s.linears);
    for (const SchemeSummary& row : s.schemes) {
      if (s.schemes.size() == 1) break;  // said above
      fmt::print("  {}: {} bits, group size {}, {}{}\n", row.part, row.bits, row.group_size,
                 row.symmetric ? "symmetric" : "with zero points",
                 row.part == "linears" ? fmt::format("; {}", row.modules) : "");
    }
  }
  for (const PartSummary& part : s.parts)
    fmt::print("  {:<24} {:>5} tensors {:>12}\n", part.name, part.tensors, size_text(part.bytes));
  if (flags.tensors) {
    for (const TensorSummary& t : s.tensors)
      fmt::print("  {:<60} {:<5} {:<16} {}\n", t.name, t.dtype, shape_text(t.shape), t.file);
  }
  print_kernels(kernels);
  for (const std::string& problem : s.problems) fmt::print("problem: {}\n", problem);
  return s.problems.empty() ? 0 : 3;
}

}  // namespace

std::function<int()> add_inspect(CLI::App& app, CommonFlags& common) {
  auto flags = std::make_shared<Flags>();
  app.add_option("model", flags->model, "Model folder")->required();
  app.add_flag("--tensors", flags->tensors, "List every tensor");
  app.add_flag("--deep", flags->deep, "Read every weight and look for damaged numbers");
  CLI::Option* kernels =
      app.add_flag("--kernels", flags->kernels, "Which kernel would run here, and why the others would not");
  app.add_option("--activations", flags->activations,
                 "Inputs of linears: int8 (bf16 for BF16 weights), int15 (those as they are) or f32")
      ->needs(kernels)
      ->capture_default_str();
  return [flags, &common] { return run(*flags, common); };
}

}  // namespace awq::cli
