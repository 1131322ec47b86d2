#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace spade {

enum class DType : uint8_t { kF32, kF16, kBF16, kI8, kI32 };

constexpr size_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kI8:
      return 1;
  }
  return 0;
}

constexpr std::string_view NameOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kI8:
      return "int8";
    case DType::kI32:
      return "i32";
  }
  return "?";
}

// Those that weights may have in memory.
inline constexpr DType kWeightTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8};

constexpr std::optional<DType> WeightTypeNamed(std::string_view name) {
  for (const DType dtype : kWeightTypes) {
    if (name == NameOf(dtype)) return dtype;
  }
  return std::nullopt;
}

// Those that keys and values may be kept in.
inline constexpr DType kKvTypes[] = {DType::kF32, DType::kBF16};

// The type that the inputs of a matrix product are rounded to; sums are F32.
enum class Compute : uint8_t {
  kF32,   // none is rounded
  kF16,   // of products with F16 weights: to F16, what is too large for it to its largest
  kBF16,  // of products with BF16 weights, and with I8 weights, which are then rounded too: to BF16
  kI8,    // of products with I8 weights: to 8-bit integers, by groups of inputs (see matrix.h)
};

inline constexpr Compute kComputes[] = {Compute::kF32, Compute::kF16, Compute::kBF16, Compute::kI8};

constexpr std::string_view NameOf(Compute compute) {
  switch (compute) {
    case Compute::kF32:
      return "f32";
    case Compute::kF16:
      return "f16";
    case Compute::kBF16:
      return "bf16";
    case Compute::kI8:
      return "int8";
  }
  return "?";
}

constexpr float BF16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Rounds to nearest even; NaN stays NaN.
constexpr uint16_t FloatToBF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline constexpr float kMaxF16 = 65504;

constexpr float F16ToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0)
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal or zero
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace spade
