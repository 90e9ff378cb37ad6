#include "model/archs/archs.h"

namespace awq::model {

std::span<const Architecture* const> architectures() {
  static constexpr const Architecture* kAll[] = {&kLlama, &kMistral, &kQwen2, &kQwen3};
  return kAll;
}

}  // namespace awq::model
