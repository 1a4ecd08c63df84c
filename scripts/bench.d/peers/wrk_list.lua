-- Requests the paths of a list one after the other. wrk then shows the limit of what
-- the origin and the machine can transfer. Usage: wrk -s wrk_list.lua URL -- LIST
local paths, threads = {}, 0

-- Threads start at different places; otherwise they would request the same file at the same time.
function setup(thread)
   thread:set("turn", threads)
   threads = threads + 1
end

function init(args)
   for line in io.lines(args[1]) do
      paths[#paths + 1] = wrk.format("GET", line:match("^http://[^/]+(.*)$"))
   end
   next_path = turn * math.floor(#paths / 2)
end

function request()
   next_path = next_path % #paths + 1
   return paths[next_path]
end
