//! What a vCenter may answer, as bytes that somebody else made up.

use vsphere::soap::{Document, Fault, XmlError};

use crate::Outcome;

/// An answer. A part of it lies inside the whole, and read alone says the same.
pub fn soap_xml(bytes: &[u8]) -> Outcome {
    let document = match Document::read(bytes.to_vec()) {
        Ok(document) => document,
        Err(error) => return refused(&error),
    };
    let whole = document.root().source();
    for part in document.root().children() {
        let place = part.source();
        assert!(whole.start <= place.start && place.end <= whole.end, "{place:?} is not in {whole:?}");
        let alone = Document::read(document.source_of(part).to_vec());
        let alone = alone.unwrap_or_else(|error| panic!("a part alone: {error}"));
        assert_eq!(alone.root().to_xml(), part.to_xml());
    }
    Outcome::Accepted
}

/// A fault, of a call and of a task: it has a type, a meaning and a text, whatever it is.
pub fn soap_fault(bytes: &[u8]) -> Outcome {
    let document = match Document::read(bytes.to_vec()) {
        Ok(document) => document,
        Err(error) => return refused(&error),
    };
    for fault in [Fault::of_answer(document.root()), Fault::of_localized(document.root())] {
        assert!(fault.to_string().starts_with(fault.fault_type()));
        assert_eq!(fault.kind(), fault.class().kind());
    }
    Outcome::Accepted
}

fn refused(error: &XmlError) -> Outcome {
    let digitless: String = error.to_string().chars().filter(|digit| !digit.is_ascii_digit()).take(60).collect();
    Outcome::Refused(digitless)
}

/// Faults as they come.
pub(crate) fn faults() -> Vec<Vec<u8>> {
    let of = |name: &str, inside: &str| {
        format!(
            "<Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring><detail><{name}Fault \
             xsi:type=\"{name}\">{inside}</{name}Fault></detail></Fault>"
        )
        .into_bytes()
    };
    vec![
        of("NoPermission", "<object type=\"Folder\">group-d1</object><privilegeId>System.Read</privilegeId>"),
        of("GenericVmConfigFault", "<faultMessage><key>msg.vigor.enc.keyNotFound</key></faultMessage>"),
        of(
            "EncryptionKeyRequired",
            "<requiredKey><keyId>0b1f</keyId><providerId><id>k</id></providerId></requiredKey>",
        ),
        of("InvalidDeviceSpec", "<faultMessage><key>msg.enc.badPolicy</key><message>m</message></faultMessage>"),
        b"<error><fault xsi:type=\"TaskInProgress\"/><localizedMessage>busy</localizedMessage></error>".to_vec(),
    ]
}

/// An answer as it comes.
pub(crate) fn answer() -> Vec<u8> {
    b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"s\" xmlns:xsi=\"x\"><soapenv:Body>\
      <RetrievePropertiesExResponse xmlns=\"urn:vim25\"><returnval><objects><obj type=\"VirtualMachine\">vm-16</obj><propSet>\
      <name>config</name><val xsi:type=\"VirtualMachineConfigInfo\"><name>a &amp; &#x62; <![CDATA[<c>]]></name><x/></val>\
      </propSet></objects></returnval></RetrievePropertiesExResponse></soapenv:Body></soapenv:Envelope>"
        .to_vec()
}
