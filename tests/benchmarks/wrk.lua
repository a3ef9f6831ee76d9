-- What wrk sends: `wrk -s wrk.lua URL -- operation users results mode pause_ms`, then one line of JSON.
-- Times are wrk's own, from the first byte written to the last one read.
local operation, users, results, mode, pause
local board = "/v1/games/bench/leaderboards/global"
local kept = {} -- bodies of sessions, but for their ids: wrk shares the machine with what it measures

local function user() return "u" .. math.random(users) - 1 end

local function session_id()
  local ms = os.time() * 1000 + math.random(0, 999)
  return string.format("%08x-%04x-7%03x-%04x-%06x%06x", math.floor(ms / 65536), ms % 65536,
    math.random(0, 0xfff), math.random(0x8000, 0xbfff), math.random(0, 0xffffff), math.random(0, 0xffffff))
end

local function some_results()
  local seen, parts = {}, {}
  while #parts < results do
    local id = user()
    if not seen[id] then
      seen[id] = true
      parts[#parts + 1] = string.format('{"user_id":"%s","score":%d}', id, math.random(100))
    end
  end
  return string.format('"mode":"%s","results":[%s]}', mode, table.concat(parts, ","))
end

function init(args)
  operation, users, results, mode = args[1], tonumber(args[2]), tonumber(args[3]), args[4]
  pause = tonumber(args[5])
  math.randomseed(tonumber(args[6]))
  wrk.headers["Content-Type"] = "application/json"
  for i = 1, 2000 / results do kept[i] = some_results() end
  if pause > 0 then
    -- Milliseconds to wait before each request: whole ones, right on average.
    function delay() return math.floor(pause + math.random()) end
  end
end

local ask = {
  hello = function() return wrk.format("GET", "/") end,
  top = function() return wrk.format("GET", board .. "/top?limit=10") end,
  rank = function() return wrk.format("GET", board .. "/users/" .. user()) end,
  around = function() return wrk.format("GET", board .. "/users/" .. user() .. "/around?radius=5") end,
  lookup = function()
    local ids = {}
    for i = 1, 50 do ids[i] = '"' .. user() .. '"' end
    return wrk.format("POST", board .. "/lookup", nil, '{"user_ids":[' .. table.concat(ids, ",") .. "]}")
  end,
  submit = function()
    local rest = results == 1 and some_results() or kept[math.random(#kept)]
    return wrk.format("POST", "/v1/games/bench/sessions", nil, '{"session_id":"' .. session_id() .. '",' .. rest)
  end,
}
-- Nine reads to a write: five ranks, two tops, two neighbourhoods.
local mix = {"submit", "rank", "rank", "rank", "rank", "rank", "top", "top", "around", "around"}
ask.mixed = function() return ask[mix[math.random(#mix)]]() end

function request() return ask[operation]() end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
