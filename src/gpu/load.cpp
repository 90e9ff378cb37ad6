#include "gpu/load.h"

#include <fmt/format.h>

#include "base/check.h"

namespace awq::gpu {

Half f32_activation_type(const model::ModelFiles& files) {
  const file::OrderedJson& json = files.config_json();
  for (const char* key : {"torch_dtype", "dtype"}) {
    const auto found = json.find(key);
    if (found != json.end() && found->is_string()) {
      return found->get<std::string>() == "float16" ? Half::kF16 : Half::kBf16;
    }
  }
  return Half::kBf16;
}

ModelOptions model_options(const std::string& dtype, const std::string& cuda_linear, bool on_device) {
  ModelOptions out;
  if (dtype == "f16" || dtype == "float16" || dtype == "half") {
    out.type = Half::kF16;
  } else if (dtype == "bf16" || dtype == "bfloat16") {
    out.type = Half::kBf16;
  } else if (dtype != "auto") {
    fail(ErrorCode::kInvalidArgument, "--dtype {}: expected auto, f16 or bf16", printable(dtype));
  }
  if (cuda_linear != "exact" && cuda_linear != "fast") {
    fail(ErrorCode::kInvalidArgument, "--cuda-linear {}: expected exact or fast", printable(cuda_linear));
  }
  out.fast_linears = cuda_linear == "fast";
  if (!on_device && out.type) {
    fail(ErrorCode::kInvalidArgument, "--dtype {}: the processor computes in binary32, --device cuda in 16 bits",
         dtype);
  }
  if (!on_device && out.fast_linears) {
    fail(ErrorCode::kInvalidArgument, "--cuda-linear fast: is of --device cuda alone");
  }
  return out;
}

std::unique_ptr<StepModel> load_step_model(const model::WeightSource& source, const ModelOptions& model,
                                           const StepOptions& options) {
  return std::make_unique<StepModel>(std::make_unique<Model>(source, model), options);
}

std::string describe(const device::Properties& device, Half type) {
  return fmt::format("{}, compute capability {}.{}, {} multiprocessors, {}", device.name, device.major, device.minor,
                     device.multiprocessors, type == Half::kF16 ? "f16" : "bf16");
}

}  // namespace awq::gpu
