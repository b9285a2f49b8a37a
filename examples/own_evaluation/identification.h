#pragma once

#include <pfc/eval/features.h>

#include <cstdint>

struct Identification {
  std::int64_t people = 0;   ///< with an enrolled image
  std::int64_t probes = 0;   ///< all other images
  std::int64_t correct = 0;  ///< probes whose nearest enrolled image is of their person
};

/// Rank-1 identification. An image's name is PERSON/IMAGE. The first image of each person is
/// enrolled, and all others are probes. Nearness is the cosine; of equally near images the first
/// one counts.
Identification identify(const pfc::Features& features);
