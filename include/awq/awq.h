#pragma once

// The public surface of the library: everything a program needs to quantize, measure, run and look at a model.
#include "awq/bench.h"      // IWYU pragma: export
#include "awq/chat.h"       // IWYU pragma: export
#include "awq/error.h"      // IWYU pragma: export
#include "awq/evaluator.h"  // IWYU pragma: export
#include "awq/generator.h"  // IWYU pragma: export
#include "awq/inspector.h"  // IWYU pragma: export
#include "awq/load.h"       // IWYU pragma: export
#include "awq/quantizer.h"  // IWYU pragma: export
#include "awq/runtime.h"    // IWYU pragma: export
#include "awq/server.h"     // IWYU pragma: export
#include "awq/version.h"    // IWYU pragma: export
