#include "pfc/base/format.h"

#include <gtest/gtest.h>

namespace pfc {
namespace {

TEST(Format, IsPrintfIntoAStringOfAnyLength) {
  EXPECT_EQ(format("%d of %s", 3, "four"), "3 of four");
  EXPECT_EQ(format("%0500d", 1).size(), 500u);
}

TEST(Grouped, PutsACommaBeforeEveryThreeDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(17'091'657), "17,091,657");
  EXPECT_EQ(grouped(-123), "-123");
  EXPECT_EQ(grouped(-1234), "-1,234");
}

TEST(Counted, IsOneOfAThingAndSeveralOfThings) {
  EXPECT_EQ(counted(1, "identity"), "1 identity");
  EXPECT_EQ(counted(0, "identity"), "0 identities");
  EXPECT_EQ(counted(1807, "image"), "1,807 images");
  EXPECT_EQ(counted(2, "day"), "2 days");
  EXPECT_EQ(counted(2, "class"), "2 classes");
  EXPECT_EQ(counted(2, "batch"), "2 batches");
  EXPECT_EQ(counted(2, "class centre"), "2 class centres");
  EXPECT_EQ(counted(-1, "step"), "-1 steps");
}

TEST(SizeText, IsInTheUnitThatShowsSomething) {
  EXPECT_EQ(size_text(0), "0 bytes");
  EXPECT_EQ(size_text(1), "1 byte");
  EXPECT_EQ(size_text(999), "999 bytes");
  EXPECT_EQ(size_text(1500), "1.5 kB");
  EXPECT_EQ(size_text(96'300'000), "96.3 MB");
  EXPECT_EQ(size_text(1'234'567'890), "1.23 GB");
  EXPECT_EQ(part_of_size(120'000, 4'700'000), "0.1 of 4.7 MB");
  EXPECT_EQ(part_of_size(0, 12), "0 of 12 bytes");
}

TEST(PrintableLine, LeavesNamesReadableAndNothingThatATerminalObeys) {
  EXPECT_EQ(printable_line("Ångström/李 小龙/1.jpg\tX"), "Ångström/李 小龙/1.jpg\tX");
  EXPECT_EQ(printable_line("a\x1b[31mred\a\r\n\x7f"), "a?[31mred????");
  EXPECT_EQ(printable_line("\xc2\x9b"
                           "31m"),
            "?31m");  // a control sequence in one character
  EXPECT_EQ(printable_line("a\xe2\x80\xae"
                           "gpj.b"),
            "a?gpj.b");                                        // the right-to-left override
  EXPECT_EQ(printable_line("\xff\xc0\x80\xe2\x82"), "?????");  // no UTF-8
  EXPECT_EQ(printable_line("\xed\xa0\x80\xf5\x80\x80\x80"),
            "???????");  // a surrogate; beyond the end
}

TEST(Printable, CutsNamesShortAndNotWithinACharacter) {
  EXPECT_EQ(printable("a\tb"), "a?b");
  EXPECT_EQ(printable(std::string(80, 'a')), std::string(80, 'a'));
  EXPECT_EQ(printable(std::string(81, 'a')), std::string(80, 'a') + "...");
  EXPECT_EQ(printable(std::string(79, 'a') + "ü"), std::string(79, 'a') + "...");
}

}  // namespace
}  // namespace pfc
