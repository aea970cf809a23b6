// Numbers for people.
#pragma once

#include <cstdint>
#include <string>

namespace msa::cli {

std::string format_count(uint64_t count);          // 1234567 → "1,234,567"
std::string format_bytes(uint64_t bytes);          // 1536 → "1.5 KiB"
std::string format_decimal_bytes(uint64_t bytes);  // 57600000000 → "57.6 GB"
std::string format_rate(double per_second);        // 12.3, 1234.5 → "1,235"
std::string format_duration(double seconds);       // 75 → "1:15", 0.8 → "0.8 s"
std::string format_number(double value);           // three significant digits
std::string counted(uint64_t count, const char* one, const char* many);  // "1 document"

}  // namespace msa::cli
