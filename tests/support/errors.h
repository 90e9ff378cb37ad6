#pragma once

#include <gtest/gtest.h>

#include <string>

#include "awq/error.h"

namespace awq::test {

/// Runs `action`, which must throw Error{code}, and returns its text.
template <typename Action>
std::string error_of(ErrorCode code, Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

}  // namespace awq::test
