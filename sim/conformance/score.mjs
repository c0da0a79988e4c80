// Counts results of the suite as its own site does, of what applies to reverse proxies.
// node score.mjs SUITE RESULTS
import fs from 'node:fs'
import path from 'node:path'

const [suite, results] = process.argv.slice(2).map(name => path.resolve(name))
const { default: suites } = await import(`${suite}/tests/index.mjs`)
const { determineTestResult, resultTypes } = await import(`${suite}/test-engine/lib/results.mjs`)
const got = JSON.parse(fs.readFileSync(results))

const score = {}
for (const { tests } of suites) {
  for (const test of tests) {
    // Browsers alone have those; 'check' is what has no right or wrong.
    if (test.browser_only || test.kind === 'check') continue
    const kind = score[test.kind ?? 'required'] ??= { of: 0, passed: 0, failed: [] }
    const result = determineTestResult(suites, test.id, got)
    kind.of += 1
    if (result === resultTypes.pass) {
      kind.passed += 1
    } else {
      const name = Object.keys(resultTypes).find(name => resultTypes[name] === result)
      kind.failed.push(`${test.id}: ${name} ${JSON.stringify(got[test.id]?.[1] ?? got[test.id])}`)
    }
  }
}
console.log(JSON.stringify(score))
