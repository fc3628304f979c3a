// SPDX-License-Identifier: Apache-2.0
/** Every word of the pages, both languages under the same keys. Names of units, people and places are data, not here.
 *
 *  `say(lang, key, values)` fills `{name}` places. A key ending in a state (`link.up`) names that state of the contract.
 */

import { COMMAND_WORDS } from "./words_command.js";
import { KIT_WORDS } from "./words_kit.js";

const PAIRS = {
  // words of both pages; key: [Chinese, English]
  "language.other": ["English", "中文"],
  "view.day": ["日间", "Day"],
  "view.night": ["夜间", "Night"],
  "view.sun": ["强光", "Sun"],
  "sep": [" · ", " · "],
  "comma": [",", ", "],
  "none": ["无", "none"],
  "about": ["约 ", "about "],
  "page.command": ["指挥部", "Command post"],
  "page.kit": ["便携站", "Field kit"],
  "by_link": ["经{link}", "by {link}"],
  "lost_server.title": ["本页与服务器断开 {time}", "This page has lost its server {time}"],
  "lost_server.what": ["以下内容停在 {at},不是现在的情况。新的求救不会显示在这里。", "All below stopped at {at}; it is not the present. A new SOS will not show here."],
  "lost_server.retry": ["正在重连 第 {n} 次 · 立即重试", "Reconnecting, try {n} · retry now"],
  "lost_server.confirm": ["与服务器断开,不能确认", "server lost, cannot confirm"],
  "lost_server.kit": ["本页与本机断开 {time}", "This page has lost the kit {time}"],
  "lost_server.kit_what": ["靠近本机,连上它的 Wi-Fi。求救现在存不进去。", "Come near the kit and join its Wi-Fi. An SOS cannot be stored now."],
  "link.up": ["通", "up"],
  "link.degraded": ["不稳", "degraded"],
  "link.down": ["断", "down"],
  "link.unknown": ["未知", "unknown"],
  "transport.4g": ["4G", "4G"],
  "transport.5g": ["5G", "5G"],
  "transport.vsat": ["卫星", "Satellite"],
  "transport.radio": ["电台", "Radio"],
  "transport.mesh": ["自组网", "Mesh"],
  "transport.beidou": ["北斗", "BeiDou"],
  "transport.mqtt": ["MQTT", "MQTT"],
  "transport.sms": ["短信", "SMS"],
  "transport.wifi": ["Wi-Fi", "Wi-Fi"],
  "transport.lan": ["有线", "Cable"],
  "fault": ["本页出了故障,可能已不是现在的情况。请重新打开。", "This page has a fault and may not show the present. Open it again."],
  "refused": ["没做成:{why}", "Not done: {why}"],
  "phrase.at_position": ["到达指定位置", "At the position"],
  "phrase.need_stretcher": ["需要担架", "Need stretcher"],
  "phrase.need_people": ["需要增援", "Need more people"],
  "phrase.road_cut": ["道路中断", "Road is cut"],
  "phrase.returning": ["正在返回", "Returning"],
  "phrase.all_safe": ["人员平安", "All people safe"],
  "level.county": ["县级", "county"],
  "level.city": ["市级", "city"],
  "level.province": ["省级", "province"],
  "grade.flash": ["特提", "FLASH"],
  "grade.immediate": ["特急", "IMMEDIATE"],
  "grade.priority": ["加急", "PRIORITY"],
  "grade.routine": ["平急", "ROUTINE"],
  "grade.deferred": ["缓传", "DEFERRED"],
  "source.BD": ["北斗", "BeiDou"],
  "source.GP": ["GPS", "GPS"],
  "source.GN": ["多系统", "GNSS"],
  ...COMMAND_WORDS,
  ...KIT_WORDS,
};

/** All keys; both languages have each, by construction. */
export const KEYS = Object.keys(PAIRS);

/** The word `key` in `lang`, its `{places}` filled. A state of a newer server that has no word here shows as it came. */
export function say(lang, key, values = {}) {
  const pair = PAIRS[key];
  if (!pair) return key.slice(key.indexOf(".") + 1);
  return pair[lang === "zh" ? 0 : 1].replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Whether there is a word `key`: for names that may be ours or data (a link called "4g" or "hilltop"). */
export function hasWord(key) {
  return key in PAIRS;
}
