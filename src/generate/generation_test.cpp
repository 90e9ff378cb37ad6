#include "generate/generation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "awq/error.h"

namespace awq::generate {
namespace {

std::string error_of(const engine::SamplingParams& params) {
  try {
    check_sampling(params);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(CheckSampling, NamesTheOption) {
  EXPECT_EQ(error_of({}), "");
  EXPECT_NE(error_of({.temperature = -1}).find("--temperature"), std::string::npos);
  EXPECT_NE(error_of({.temperature = std::nan("")}).find("--temperature"), std::string::npos);
  EXPECT_NE(error_of({.top_k = -1}).find("--top-k"), std::string::npos);
  EXPECT_NE(error_of({.top_p = 0}).find("--top-p"), std::string::npos);
  EXPECT_NE(error_of({.top_p = std::nan("")}).find("--top-p"), std::string::npos);
  EXPECT_NE(error_of({.min_p = 2}).find("--min-p"), std::string::npos);
  EXPECT_NE(error_of({.repetition_penalty = 0}).find("--repetition-penalty"), std::string::npos);
}

}  // namespace
}  // namespace awq::generate
