#pragma once

#include "model/architecture.h"

namespace awq::model {

extern const Architecture kLlama;
extern const Architecture kMistral;
extern const Architecture kQwen2;
extern const Architecture kQwen3;

}  // namespace awq::model
