#pragma once

/// Where the tests find their files. One source file knows the folders, so that no other object file depends on them.
namespace awq::test {
extern const char* const kSourceDir;   ///< root of the repository
extern const char* const kSharedData;  ///< larger test data that is no part of the repository; may be absent
}  // namespace awq::test

#define AWQ_SOURCE_DIR ::awq::test::kSourceDir
#define AWQ_SHARED_DATA ::awq::test::kSharedData
