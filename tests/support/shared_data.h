#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "support/paths.h"

/// Declares `variable` as a path below the shared test data; skips the test when that is not there.
#define AWQ_REQUIRE_SHARED(variable, relative)                                                \
  const std::filesystem::path variable = std::filesystem::path(AWQ_SHARED_DATA) / (relative); \
  if (!std::filesystem::exists(variable)) GTEST_SKIP() << "no shared data at " << (variable)
