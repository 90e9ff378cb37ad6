#include "report/page.h"

#include <fmt/format.h>

#include "report/svg.h"

namespace awq::report {
namespace {

// --s0..7: series; --h0..8: shades of the heat map; --t0..8: text on them. Contrast of text on its ground is at least
// 4.5 to 1 in both themes.
constexpr const char* kStyle = R"css(
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1d232b;--soft:#5a6572;--line:#e3e6ea;--accent:#0b62a8;
--s0:#0072b2;--s1:#c24e00;--s2:#007d5b;--s3:#a8447d;--s4:#8a6d00;--s5:#2f8fc4;--s6:#5b5fc7;--s7:#5f6b76;
--h0:#f1f6fb;--h1:#d6e6f4;--h2:#b5d4e9;--h3:#8ebfdd;--h4:#63a5cf;--h5:#3d88bd;--h6:#1f6ba8;--h7:#0c4f8a;--h8:#083266;
--t0:#1d232b;--t1:#1d232b;--t2:#1d232b;--t3:#1d232b;--t4:#10161d;--t5:#fff;--t6:#fff;--t7:#fff;--t8:#fff}
:root[data-theme=dark]{color-scheme:dark;--bg:#14181d;--card:#1b2027;--ink:#e8ebee;--soft:#a3adb8;--line:#313943;--accent:#7cc0f5;
--s0:#5bb4f0;--s1:#ff9b52;--s2:#3fc79b;--s3:#ec93c3;--s4:#e2c044;--s5:#8fd3ff;--s6:#a7a9ff;--s7:#aab4be;
--h0:#1f2a36;--h1:#213a50;--h2:#23496a;--h3:#265a85;--h4:#2f6fa0;--h5:#4788b8;--h6:#6ea6cd;--h7:#9fc6e0;--h8:#d6e8f4;
--t0:#dfe5ea;--t1:#e8ebee;--t2:#f0f3f5;--t3:#fff;--t4:#fff;--t5:#0d1319;--t6:#0d1319;--t7:#0d1319;--t8:#0d1319}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;--bg:#14181d;--card:#1b2027;--ink:#e8ebee;--soft:#a3adb8;--line:#313943;--accent:#7cc0f5;
--s0:#5bb4f0;--s1:#ff9b52;--s2:#3fc79b;--s3:#ec93c3;--s4:#e2c044;--s5:#8fd3ff;--s6:#a7a9ff;--s7:#aab4be;
--h0:#1f2a36;--h1:#213a50;--h2:#23496a;--h3:#265a85;--h4:#2f6fa0;--h5:#4788b8;--h6:#6ea6cd;--h7:#9fc6e0;--h8:#d6e8f4;
--t0:#dfe5ea;--t1:#e8ebee;--t2:#f0f3f5;--t3:#fff;--t4:#fff;--t5:#0d1319;--t6:#0d1319;--t7:#0d1319;--t8:#0d1319}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1020px;margin:0 auto;padding:28px 20px 60px}
header{display:flex;gap:16px;align-items:flex-start;justify-content:space-between}
h1{font-size:1.65rem;line-height:1.25;margin:0 0 6px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.12rem;margin:0 0 12px}
.lead{color:var(--soft);margin:0 0 22px;max-width:75ch}
button{font:inherit;font-size:.88rem;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:8px;padding:6px 12px;cursor:pointer;white-space:nowrap}
button:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin:0 0 20px}
figure{margin:0}
figcaption,.note{color:var(--soft);font-size:.92rem;margin-top:10px;max-width:80ch}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
svg{display:block;width:100%;height:auto;font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1.2}
.tick{fill:var(--soft);font-size:12px}.label{fill:var(--soft);font-size:13px}.name{fill:var(--ink);font-size:13px}.cell{font-size:11px}
.dot{stroke:var(--card);stroke-width:1.5}.bead{stroke:var(--card);stroke-width:1}.whisker{fill:none;stroke-width:1.5}
.curve{fill:none;stroke-width:2.2;stroke-linejoin:round}.frontier{fill:none;stroke:var(--soft);stroke-width:1.3;stroke-dasharray:5 5}
.missing{fill:none;stroke:var(--line)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:6px 18px;margin:10px 0 0;padding:0;font-size:.9rem}
.key{display:inline-block;width:14px;height:14px;border-radius:4px;margin-right:7px;vertical-align:-2px}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:7px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal;line-height:1.25}
th:first-child,td:first-child{text-align:left}tbody th{font-weight:600}tbody tr:last-child>*{border-bottom:0}
td.why{text-align:left;color:var(--soft);white-space:normal}td.best{font-weight:700}
.small{color:var(--soft);font-size:.85em;font-weight:400}.empty{color:var(--soft)}
footer{color:var(--soft);font-size:.88rem}
@media (max-width:640px){main{padding:20px 12px 40px}.card{padding:14px 12px}.chart{min-width:560px}h1{font-size:1.35rem}}
@media print{button{display:none}.card{break-inside:avoid}}
)css";

constexpr const char* kScript = R"js(
(function(){var r=document.documentElement,b=document.getElementById('theme');
function dark(){return r.dataset.theme?r.dataset.theme==='dark':matchMedia('(prefers-color-scheme:dark)').matches}
function show(){b.textContent=dark()?'Light':'Dark';b.setAttribute('aria-label',dark()?'Use light colours':'Use dark colours')}
b.onclick=function(){r.dataset.theme=dark()?'light':'dark';show()};b.hidden=false;show()})();
)js";

}  // namespace

std::string figure(const std::string& title, const std::string& picture, const std::string& caption) {
  return fmt::format(
      "<section class=\"card\"><figure><h2>{}</h2><div class=\"scroll\"><div class=\"chart\">{}</div></div>"
      "<figcaption>{}</figcaption></figure></section>\n",
      escape(title), picture, caption);
}

std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table\"><table><thead><tr>";
  for (const std::string& cell : head) out += "<th scope=\"col\">" + cell + "</th>";
  out += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == 0) {
        out += "<th scope=\"row\">" + row[i] + "</th>";
      } else if (row[i].starts_with("<td")) {
        out += row[i];
      } else {
        out += "<td>" + row[i] + "</td>";
      }
    }
    out += "</tr>";
  }
  return out + "</tbody></table></div>";
}

std::string page(const std::string& title, const std::string& lead, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<main>\n<header><h1>{0}</h1><button id=\"theme\" type=\"button\" hidden>"
      "Dark</button></header>\n<p class=\"lead\">{2}</p>\n{3}</main>\n<script>{4}</script>\n</body>\n</html>\n",
      escape(title), kStyle, lead, body, kScript);
}

}  // namespace awq::report
