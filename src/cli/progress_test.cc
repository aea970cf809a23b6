#include "cli/progress.h"
#include <gtest/gtest.h>
TEST(Progress, Compiles) {}
