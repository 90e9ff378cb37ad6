#include <fmt/format.h>

#include <memory>

#include "awq/inspector.h"
#include "cli/commands.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

struct Flags {
  std::string model;
  bool tensors = false;
  bool deep = false;
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

int run(const Flags& flags, const CommonFlags& common) {
  const InspectSummary s = inspect_model(flags.model, flags.deep);
  if (common.json) {
    print_json(to_json(s));
    return s.problems.empty() ? 0 : 3;
  }
  fmt::print("{}: {} parameters in {} layers, {}, {:.3f} bits per weight\n", s.architecture, s.parameters, s.layers,
             size_text(s.tensor_bytes), s.bits_per_weight);
  if (s.format.empty()) {
    fmt::print("not quantized\n");
  } else {
    fmt::print("{}: {} bits, group size {}, {}; {} of {} linears\n", s.format, s.bits, s.group_size,
               s.symmetric ? "symmetric" : "with zero points", s.quantized_linears, s.linears);
  }
  for (const PartSummary& part : s.parts)
    fmt::print("  {:<24} {:>5} tensors {:>12}\n", part.name, part.tensors, size_text(part.bytes));
  if (flags.tensors) {
    for (const TensorSummary& t : s.tensors)
      fmt::print("  {:<60} {:<5} {:<16} {}\n", t.name, t.dtype, shape_text(t.shape), t.file);
  }
  for (const std::string& problem : s.problems) fmt::print("problem: {}\n", problem);
  return s.problems.empty() ? 0 : 3;
}

}  // namespace

std::function<int()> add_inspect(CLI::App& app, CommonFlags& common) {
  auto flags = std::make_shared<Flags>();
  app.add_option("model", flags->model, "Model folder")->required();
  app.add_flag("--tensors", flags->tensors, "List every tensor");
  app.add_flag("--deep", flags->deep, "Read every weight and look for damaged numbers");
  return [flags, &common] { return run(*flags, common); };
}

}  // namespace awq::cli
