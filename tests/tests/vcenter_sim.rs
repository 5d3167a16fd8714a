//! The vCenter of the tests keeps the rules that tests of capture and recovery rest on.

use std::fs;

use strongroom_tests::Vcenter;

fn envelope(call: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><soapenv:Body>{call}</soapenv:Body></soapenv:Envelope>"
    )
}

/// A client that has logged in.
struct Client<'v> {
    vcenter: &'v Vcenter,
    cookie: String,
}

impl<'v> Client<'v> {
    fn of(vcenter: &'v Vcenter) -> Self {
        let login = format!(
            "<Login xmlns=\"urn:vim25\"><_this type=\"SessionManager\">SessionManager</_this>\
             <userName>{}</userName><password>{}</password></Login>",
            vcenter.user, vcenter.password
        );
        let (status, head, body) = vcenter.exchange("POST", "/sdk", "", &envelope(&login));
        assert_eq!(status, 200, "{body}");
        let cookie = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
        Self { vcenter, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    fn headers(&self) -> String {
        format!("Cookie: {}\r\n", self.cookie)
    }

    fn call(&self, method: &str, kind: &str, object: &str, arguments: &str) -> (u16, String) {
        let call =
            format!("<{method} xmlns=\"urn:vim25\"><_this type=\"{kind}\">{object}</_this>{arguments}</{method}>");
        self.vcenter.post("/sdk", &self.headers(), &envelope(&call))
    }

    #[track_caller]
    fn on_vm(&self, method: &str, vm: &str, arguments: &str) -> String {
        let moref = self.vcenter.info(vm)["moref"].as_str().unwrap().to_owned();
        let (status, body) = self.call(method, "VirtualMachine", &moref, arguments);
        assert_eq!(status, 200, "{body}");
        body
    }

    #[track_caller]
    fn snapshot(&self, vm: &str) {
        let arguments = "<name>night</name><description/><memory>false</memory><quiesce>false</quiesce>";
        self.on_vm("CreateSnapshot_Task", vm, arguments);
    }

    /// Areas changed up to the only snapshot of a VM, as they are written.
    fn changed(&self, vm: &str, since: &str) -> String {
        let snapshot = self.vcenter.info(vm)["snapshots"][0]["moref"].as_str().unwrap().to_owned();
        let body = self.on_vm(
            "QueryChangedDiskAreas",
            vm,
            &format!(
                "<snapshot type=\"VirtualMachineSnapshot\">{snapshot}</snapshot><deviceKey>2000</deviceKey>\
                 <startOffset>0</startOffset><changeId>{since}</changeId>"
            ),
        );
        let areas = body.split("<length>67108864</length>").nth(1).unwrap();
        areas.split("</returnval>").next().unwrap().to_owned()
    }

    #[track_caller]
    fn remove_snapshot(&self, vm: &str) {
        let snapshot = self.vcenter.info(vm)["snapshots"][0]["moref"].as_str().unwrap().to_owned();
        let arguments = "<removeChildren>false</removeChildren><consolidate>true</consolidate>";
        let (status, body) = self.call("RemoveSnapshot_Task", "VirtualMachineSnapshot", &snapshot, arguments);
        assert_eq!(status, 200, "{body}");
    }
}

#[test]
fn only_its_content_is_to_be_had_without_a_session() {
    if !Vcenter::available() {
        return;
    }
    let vcenter = Vcenter::start(&[]);
    let ask = |method: &str| {
        let call =
            format!("<{method} xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this></{method}>");
        vcenter.post("/sdk", "", &envelope(&call))
    };
    let (status, body) = ask("RetrieveServiceContent");
    assert_eq!(status, 200);
    assert!(body.contains("<apiType>VirtualCenter</apiType>") && body.contains(&vcenter.instance_uuid), "{body}");
    let (status, body) = ask("CurrentTime");
    assert_eq!(status, 500);
    assert!(body.contains("xsi:type=\"NotAuthenticated\""), "{body}");

    let client = Client::of(&vcenter);
    let nvram = "/folder/enc01/enc01.nvram?dcPath=Folder%201/DC1&dsName=ds1";
    assert_eq!(vcenter.exchange("GET", nvram, &client.headers(), "").0, 200);
    vcenter.ctl("expire");
    assert_eq!(vcenter.exchange("GET", nvram, &client.headers(), "").0, 401);
}

#[test]
fn changed_areas_are_what_was_written_between_two_snapshots() {
    if !Vcenter::available() {
        return;
    }
    let vcenter = Vcenter::start(&[]);
    let client = Client::of(&vcenter);
    client.on_vm("ReconfigVM_Task", "clear01", "<spec><changeTrackingEnabled>true</changeTrackingEnabled></spec>");
    client.snapshot("clear01");
    let base = vcenter.info("clear01")["snapshots"][0]["disks"][0]["change_id"].as_str().unwrap().to_owned();
    vcenter.ctl("write?vm=clear01&off=131072&len=4096");
    assert_eq!(client.changed("clear01", &base), "");
    client.remove_snapshot("clear01");
    client.snapshot("clear01");
    assert_eq!(
        client.changed("clear01", &base),
        "<changedArea><start>131072</start><length>65536</length></changedArea>"
    );
}

#[test]
fn a_snapshot_stands_still_and_its_removal_leaves_what_was_before() {
    if !Vcenter::available() {
        return;
    }
    let vcenter = Vcenter::start(&[]);
    let client = Client::of(&vcenter);
    let before = vcenter.ctl("state");
    let base = vcenter.file("[ds1] off01/off01.vmdk");
    let content = fs::read(&base).unwrap();
    client.snapshot("off01");
    vcenter.ctl("write?vm=off01&off=0&len=512");
    assert_eq!(vcenter.info("off01")["disks"][0]["file"], "[ds1] off01/off01-000001.vmdk");
    assert!(fs::read(&base).unwrap() == content, "the snapshot's content changed");
    client.remove_snapshot("off01");
    assert!(fs::read(&base).unwrap() != content, "the write is lost");
    assert_eq!(vcenter.ctl("state"), before);
}

#[test]
fn nvram_is_the_guests_own_only_with_key_bundle_and_file_of_one_moment() {
    if !Vcenter::available() {
        return;
    }
    let vcenter = Vcenter::start(&[]);
    let boot = |vm: &str| {
        vcenter.ctl(&format!("poweroff?vm={vm}"));
        let outcome = vcenter.ctl(&format!("poweron?vm={vm}"));
        outcome.get("fault").or(outcome.get("nvram")).unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(boot("enc01"), "original");

    let own = vcenter.info("enc01")["nvram_local"].as_str().unwrap().to_owned();
    let other = vcenter.info("tpm01")["nvram_local"].as_str().unwrap().to_owned();
    let kept = fs::read(&own).unwrap();
    fs::copy(&other, &own).unwrap();
    assert_eq!(boot("enc01"), "generic");
    fs::write(&own, kept).unwrap();
    assert_eq!(boot("enc01"), "original");

    vcenter.ctl("kms?up=false&id=kms-prod");
    assert_eq!(boot("enc01"), "*types.EncryptionKeyRequired");
    vcenter.ctl("kms?up=true");
    vcenter.ctl("config?vm=enc01&extra=encryption.bundle&value=Zm9yZWlnbg==");
    assert_eq!(boot("enc01"), "*types.EncryptionKeyRequired");
}

#[test]
fn elements_out_of_their_order_are_refused_by_name() {
    if !Vcenter::available() {
        return;
    }
    let vcenter = Vcenter::start(&[]);
    let client = Client::of(&vcenter);
    let moref = vcenter.info("off01")["moref"].as_str().unwrap().to_owned();
    let spec = "<spec><changeTrackingEnabled>true</changeTrackingEnabled><name>other</name></spec>";
    let (status, body) = client.call("ReconfigVM_Task", "VirtualMachine", &moref, spec);
    assert_eq!(status, 500);
    assert!(body.contains("element ReconfigVM_Task.spec.name is out of the order"), "{body}");
}
