// LANES numbers side by side, in the compiler's own vectors: operators, tails, gathers, tanh.
//
// The arithmetic is that of IEEE 754, without fast-math: NaN and infinity come out as they should.

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));

#define INLINE static inline __attribute__((always_inline))

// Taking zero away keeps every number, -0 among them, and makes a vector of it.
INLINE Floats splat(float x) { return x - Floats{}; }
INLINE Ints splat(int32_t x) { return x - Ints{}; }

template <class V, class T>
INLINE V load_as(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

INLINE Floats load(const float* p) { return load_as<Floats>(p); }
INLINE void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof v); }

// Codes of eight bits, and of four, the first of each two in the lower bits.
#if LANES == 16
INLINE Ints bytes(const uint8_t* p) {
  return (Ints)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p));
}
INLINE Ints nibbles(const uint8_t* p) {
  const Ints word = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const Words shifts = {0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28};
  const __m512i both = _mm512_castsi128_si512(_mm_loadl_epi64((const __m128i*)p));
  return (Ints)((Words)_mm512_permutexvar_epi32((__m512i)word, both) >> shifts) & 15;
}
#elif LANES == 8
INLINE Ints bytes(const uint8_t* p) {
  return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p));
}
INLINE Ints nibbles(const uint8_t* p) {
  const Words shifts = {0, 4, 8, 12, 16, 20, 24, 28};
  return (Ints)((Words)splat(load_as<int32_t>(p)) >> shifts) & 15;
}
#else
INLINE Ints bytes(const uint8_t* p) { return Ints{p[0], p[1], p[2], p[3]}; }
INLINE Ints nibbles(const uint8_t* p) {
  return Ints{p[0] & 15, p[0] >> 4, p[1] & 15, p[1] >> 4};
}
#endif

// The first n lanes alone; the others are zero and touch no memory.
#if LANES == 16
INLINE Floats load_part(const float* p, int64_t n) {
  return (Floats)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
INLINE void store_part(float* p, Floats v, int64_t n) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
INLINE Floats gather(const float* p, Ints at) {
  return (Floats)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xFFFF, (__m512i)at, p, 4);
}
INLINE Floats gather_of_16(const float* p, Ints at) {
  return (Floats)_mm512_permutexvar_ps((__m512i)at, (__m512)load(p));
}
#elif LANES == 8
INLINE __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE Floats load_part(const float* p, int64_t n) {
  return (Floats)_mm256_maskload_ps(p, first_lanes(n));
}
INLINE void store_part(float* p, Floats v, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), (__m256)v);
}
INLINE Floats gather(const float* p, Ints at) {
  return (Floats)_mm256_i32gather_ps(p, (__m256i)at, 4);
}
INLINE Floats gather_of_16(const float* p, Ints at) { return gather(p, at); }
#else
INLINE Floats load_part(const float* p, int64_t n) {
  Floats v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
INLINE void store_part(float* p, Floats v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
}
INLINE Floats gather(const float* p, Ints at) {
  Floats v{};
  for (int i = 0; i < LANES; ++i) v[i] = p[at[i]];
  return v;
}
INLINE Floats gather_of_16(const float* p, Ints at) { return gather(p, at); }
#endif

// Whole vectors where `whole`, which a caller knows when it is compiled.
INLINE Floats load(const float* p, int64_t n, bool whole) {
  return whole ? load(p) : load_part(p, n);
}
INLINE void store(float* p, Floats v, int64_t n, bool whole) {
  whole ? store(p, v) : store_part(p, v, n);
}

INLINE Floats pick(Ints where, Floats a, Floats b) {
  return (Floats)((where & (Ints)a) | (~where & (Ints)b));
}

// exp(x) - 1 for x in [-40, 0], NaN kept; relative error below 2e-7, near zero too.
//
// exp(x) = 2^n exp(r) with |r| <= ln(2) / 2, where seven terms of the series are enough. Adding
// 1.5 * 2^23 leaves n, rounded, in the lowest bits.
INLINE Floats expm1_negative(Floats x) {
  const float magic = 12582912.0f;
  Floats shifted = x * 1.44269504f + magic;
  Floats n = shifted - magic;
  Floats r = x - n * 0.693145752f;  // ln(2) in two parts: the first has few bits, so n times it
  r = r - n * 1.42860677e-6f;       // is exact
  Floats p = splat(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r;
  Floats scale = (Floats)(((Words)shifted - (Words)splat(magic) + 127) << 23);
  return p * scale + (scale - 1.0f);
}

INLINE Floats tanh(Floats x) {
  Ints sign = (Ints)x & (Ints)splat(-0.0f);
  Floats twice = (Floats)((Ints)x ^ sign) * -2.0f;  // -2 |x|
  // A NaN is below nothing, so it passes; its bits would make a wild power of two, so it is kept.
  Floats e = expm1_negative(pick(twice < -40.0f, splat(-40.0f), twice));
  Floats t = -e / (e + 2.0f);
  t = pick(x == x, t, x);
  return (Floats)((Ints)t | sign);
}

INLINE Floats sigmoid(Floats x) { return tanh(x * 0.5f) * 0.5f + 0.5f; }
