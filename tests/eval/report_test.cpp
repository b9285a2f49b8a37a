#include "pfc/eval/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "pfc/base/files.h"
#include "temporary_folder.h"

namespace pfc {
namespace {

using testing::HasSubstr;
using testing::Not;

Report report() {
  const RgbImage image{2, 2, std::vector<std::uint8_t>(12, 200)};
  Report made{.title = "IFRT <test>", .subtitle = "a & b"};
  made.tables.push_back(
      {.title = "TAR %",
       .columns = {"group", "pairs", "1e-6"},
       .rows = {{{"African"}, ReportCell::count(12'345), ReportCell::percent(0.97345)},
                {{"ALL"}, ReportCell::count(7), ReportCell::none()}},
       .notes = {"unordered"}});
  made.charts.push_back({.title = "ROC",
                         .x = {.label = "FAR", .from = 1e-6, .to = 1, .logarithmic = true},
                         .y = {.label = "TAR", .from = 0.5, .to = 1, .percent = true},
                         .curves = {{"one", {{1e-6, 0.6}, {1e-3, 0.9}, {1, 1}}}}});
  made.pictures.push_back({"Two people", {{"0.61  a.jpg and \"b\".jpg", image, image}}});
  return made;
}

TEST(Report, AsTextIsAlignedTables) {
  EXPECT_EQ(to_text(report()),
            "TAR %\n"
            "group     pairs   1e-6\n"
            "African  12,345  97.34\n"
            "ALL           7      –\n"
            "unordered\n");
}

TEST(Report, AsJsonKeepsTheNumbers) {
  const auto json = nlohmann::json::parse(to_json(report()));
  const auto& rows = json["tables"][0]["rows"];
  EXPECT_EQ(rows[0]["group"], "African");
  EXPECT_EQ(rows[0]["pairs"], 12'345);
  EXPECT_EQ(rows[0]["1e-6"], 0.97345);
  EXPECT_TRUE(rows[1]["1e-6"].is_null());
}

TEST(Report, AsAPageHoldsEverythingAndEscapesIt) {
  const std::string html = to_html(report());
  EXPECT_THAT(html, HasSubstr("<h1>IFRT &lt;test&gt;</h1>"));
  EXPECT_THAT(html, HasSubstr("<td>12,345</td>"));
  EXPECT_THAT(html, HasSubstr("src=\"data:image/jpeg;base64,/9j/"));
  EXPECT_THAT(html, HasSubstr("&quot;b&quot;"));
  EXPECT_THAT(html, HasSubstr("<svg xmlns"));
  for (const char* outside : {"src=\"http", "href=", "<script", "@import"})
    EXPECT_THAT(html, Not(HasSubstr(outside)));
}

TEST(Report, OpensInABrowser) {
  const char* const kBrowser = "chromium";
  if (std::system("command -v chromium >/dev/null") != 0)
    GTEST_SKIP() << kBrowser << " is not installed";
  const TemporaryFolder folder;
  write_file(folder / "report.html", to_html(report()));
  const std::string command =
      std::string(kBrowser) +
      " --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir=" +
      (folder / "profile").string() + " --virtual-time-budget=2000 --dump-dom file://" +
      (folder / "report.html").string() + " >" + (folder / "dom").string() + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const std::string dom = read_file(folder / "dom");
  EXPECT_THAT(dom, HasSubstr("<td>97.34</td>"));
  EXPECT_THAT(dom, HasSubstr("class=\"curve\""));
  EXPECT_THAT(dom, HasSubstr("</figure>"));
}

}  // namespace
}  // namespace pfc
