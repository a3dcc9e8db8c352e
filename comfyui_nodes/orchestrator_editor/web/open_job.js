// Loads the job that the address names, once the editor has shown what it showed before.
import { app } from '../../scripts/app.js'
import { api } from '../../scripts/api.js'

const JOB = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const PARAMETER = 'orchestrator_job'
const LATEST_MS = 5000 // after which the editor has surely restored its tabs

let job = new URLSearchParams(location.search).get(PARAMETER)

function withoutJob() {
  const address = new URL(location.href)
  address.searchParams.delete(PARAMETER)
  return address
}

async function open() {
  if (job === null) return
  const id = job
  job = null
  // Before anything else: a reload shows the tab as it is by then, not the job anew.
  history.replaceState(history.state, '', withoutJob())
  try {
    if (!JOB.test(id)) throw new Error(`${id} is no job's id`)
    const answer = await api.fetchApi(`/userdata/${encodeURIComponent(`orchestrator/${id}.json`)}`)
    if (!answer.ok) throw new Error(`job ${id} is not here any more; open it again from the service`)
    await app.loadGraphData(await answer.json(), true, true, `job ${id.slice(0, 8)}`)
  } catch (error) {
    app.extensionManager.toast.add({ severity: 'error', summary: 'The job cannot be opened', detail: error.message })
  }
}

app.registerExtension({
  name: 'orchestrator.open-job',
  async setup() {
    if (job === null) return
    // A browser that is new here would be shown the templates, in front of the job.
    await app.extensionManager.setting.set('Comfy.TutorialCompleted', true)
    setTimeout(open, LATEST_MS)
  },
  afterConfigureGraph() {
    // What the editor restores is configured first; the job comes after it.
    if (job !== null) setTimeout(open, 0)
  }
})
