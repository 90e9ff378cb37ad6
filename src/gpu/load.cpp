#include "gpu/load.h"

#include <fmt/format.h>

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

std::unique_ptr<StepModel> load_step_model(const model::WeightSource& source, const ModelOptions& model,
                                           const StepOptions& options) {
  return std::make_unique<StepModel>(std::make_unique<Model>(source, model), options);
}

std::string describe(const device::Properties& device, Half type) {
  return fmt::format("{}, compute capability {}.{}, {} multiprocessors, {}", device.name, device.major, device.minor,
                     device.multiprocessors, type == Half::kF16 ? "f16" : "bf16");
}

}  // namespace awq::gpu
