#pragma once

#include "formats/codec.h"

namespace awq::formats {

// The rows of the list in codecs.cpp, each defined in a file of its own.
extern const Codec kAwqGemmCodec;         // awq_gemm.cpp
extern const Codec kFloatQuantizedCodec;  // fp8.cpp, as is
extern const Codec kFp8Codec;
extern const Codec kCompressedTensorsCodec;  // compressed_tensors.cpp
extern const Codec kGptqCodec;               // gptq.cpp

}  // namespace awq::formats
